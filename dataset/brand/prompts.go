package brand

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// templates are the sentences around a thing. Their words, with the lists of scene.go, are the base
// model's whole vocabulary.
var templates = []string{
	"a photo of a %s", "a picture of a %s", "a %s", "a studio shot of a %s", "a product photo of a %s",
	"a catalogue picture of a %s", "an advert for a %s", "a new %s", "a simple %s", "a close look at a %s",
	"a nice %s for sale", "one %s in a shop window",
}

// unseenTemplates counts the templates, from the end of the list, that no training prompt uses.
const unseenTemplates = 2

// Captions returns four captions of s, each with a template drawn from r: with colour and
// background, with the colour only, with the background only, and with neither.
func Captions(r *rand.Rand, s Scene) [4]string {
	var out [4]string
	for i := range out {
		thing := s.Product
		if i < 2 {
			thing = s.Colour + " " + thing
		}
		caption := fmt.Sprintf(pick(r, templates), thing)
		if i%2 == 0 {
			caption += " on a " + s.Background + " background"
		}
		out[i] = articles(caption)
	}
	return out
}

// articles writes "an" for "a" before a vowel.
func articles(s string) string {
	words := strings.Fields(s)
	for i, w := range words[:len(words)-1] {
		if w == "a" && strings.ContainsRune("aeiou", rune(words[i+1][0])) {
			words[i] = "an"
		}
	}
	return strings.Join(words, " ")
}

// TrainPrompts are the prompts of the pairs: no colour and no background, every product in most templates.
func TrainPrompts() []string { return slices.Clone(trainPrompts) }

// HeldOutPrompts are prompts that no pair uses, for scoring: every product in the templates that no pair
// uses at all, and in two more that pairs use with other products.
func HeldOutPrompts() []string { return slices.Clone(heldOutPrompts) }

// trainProducts[i] is the product of trainPrompts[i].
var trainPrompts, trainProducts, heldOutPrompts = deal()

// deal gives every product × template to one of two lists. Templates go round the products, so that
// the first prompts of a list show all products.
func deal() (train, products, heldOut []string) {
	seen := len(templates) - unseenTemplates
	for j, template := range templates {
		for i, product := range Products {
			prompt := articles(fmt.Sprintf(template, product))
			if j >= seen || j == i%seen || j == (i+5)%seen {
				heldOut = append(heldOut, prompt)
				continue
			}
			train, products = append(train, prompt), append(products, product)
		}
	}
	return train, products, heldOut
}
