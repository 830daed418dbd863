package runstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lockName is the file that the coordinator of a run locks. While it works, and after it was killed,
// its process id stands there; an orderly end empties it.
const lockName = "run.lock"

var errInUse = errors.New("in use")

// ErrLocked reports that another coordinator works in the run folder.
var ErrLocked = errors.New("run folder is in use by another coordinator")

// lock is a locked run folder.
type lock struct {
	file *os.File
	died bool // The process that had it before was killed.
}

// acquire locks the run folder dir, or returns ErrLocked with the process that has it.
func acquire(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	l := &lock{file: f}
	err = tryLock(f)
	if errors.Is(err, errInUse) {
		err = lockedError(dir, readPID(f))
	}
	if err == nil {
		l.died = readPID(f) != 0
		err = l.write(strconv.Itoa(os.Getpid()) + "\n")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func lockedError(dir string, pid int) error {
	return fmt.Errorf("%w: %s, by process %d; look at it with `coordinator status --out %s --run-id %s`, end it with `coordinator stop` and the same flags, or start another run with another --run-id or --out",
		ErrLocked, dir, pid, filepath.Dir(dir), filepath.Base(dir))
}

func (l *lock) write(text string) error {
	err := l.file.Truncate(0)
	if err == nil {
		_, err = l.file.WriteAt([]byte(text), 0)
	}
	if err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	return nil
}

// release gives the lock back. A run that is left unfinished keeps its mark, so that the same command
// takes it up.
func (l *lock) release(unfinished bool) error {
	var err error
	if !unfinished {
		err = l.write("")
	}
	return errors.Join(err, l.file.Close())
}

// maxPID bounds what is read of a lock.
const maxPID = 32

// readPID is the process id in the file, or 0.
func readPID(f *os.File) int {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, maxPID))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}

// Condition says how the coordinator of a run folder stands.
type Condition struct {
	Held bool // It works; its process is PID.
	Died bool // It was killed in the middle of the run; its process was PID.
	PID  int
}

// Inspect finds out how the coordinator of the run in dir stands.
func Inspect(dir string) (Condition, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return Condition{}, nil
	}
	if err != nil {
		return Condition{}, fmt.Errorf("inspect run: %w", err)
	}
	defer f.Close() // Only read; it gives the lock back.
	c := Condition{PID: readPID(f)}
	err = tryLock(f)
	if errors.Is(err, errInUse) {
		c.Held, err = true, nil
	}
	c.Died = err == nil && !c.Held && c.PID != 0
	return c, err
}

// Unfinished finds the run under out, or of them the one called id, that `up` without --resume is to
// take up: the newest whose coordinator was killed. It returns "" when there is none, and ErrLocked
// when a coordinator works there.
func Unfinished(out, id string) (string, error) {
	if id == "" {
		id = "*"
	}
	manifests, err := filepath.Glob(filepath.Join(out, id, manifestName))
	if err != nil {
		return "", fmt.Errorf("list runs: %w", err)
	}
	var died []string
	for _, m := range manifests {
		dir := filepath.Dir(m)
		c, err := Inspect(dir)
		if err != nil {
			return "", err
		}
		if c.Held {
			return "", lockedError(dir, c.PID)
		}
		if c.Died {
			died = append(died, m)
		}
	}
	return newestOf(died), nil
}
