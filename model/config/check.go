package config

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Checker collects the first rule that a decoded Config breaks, so that the rules of a class read as a list.
type Checker struct {
	Class string
	err   error
}

// Err returns the first broken rule, a *KeyError, or nil.
func (c *Checker) Err() error { return c.err }

// That holds unless ok: key with value breaks rule.
func (c *Checker) That(ok bool, key string, value any, rule string, args ...any) {
	if ok || c.err != nil {
		return
	}
	c.err = &KeyError{Class: c.Class, Key: key, Value: printed(value), Rule: fmt.Sprintf(rule, args...)}
}

// OneOf refuses a value outside the supported ones.
func (c *Checker) OneOf(key, value string, supported ...string) {
	for _, s := range supported {
		if value == s {
			return
		}
	}
	quoted := make([]string, len(supported))
	for i, s := range supported {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	c.That(false, key, value, "not supported; supported: %s", strings.Join(quoted, ", "))
}

// Null refuses anything but null.
func (c *Checker) Null(key string, isNil bool, value any) {
	c.That(isNil, key, value, "not supported; supported: null")
}

// Range refuses a number outside [low, high].
func (c *Checker) Range(key string, value, low, high int) {
	c.That(value >= low && value <= high, key, value, "must be between %d and %d", low, high)
}

// printed gives a value as JSON, following pointers; types with their own String keep it.
func printed(value any) string {
	if s, ok := value.(fmt.Stringer); ok {
		return s.String()
	}
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(b)
}
