package ui

import (
	"encoding/json"
	"fmt"
	"io/fs"

	"golang.org/x/text/language"

	"stele/ui/words"
)

// Languages in the order in which they are written: the first one is the original, and what
// people get whose browser asks for none of them.
var languages = []string{"zh-CN", "en"}

// Catalogue is every text of one language, see [words.Catalogue]. The scripts read the same
// file; see static/js/text.js for their half.
type Catalogue = words.Catalogue

// Beijing is the time that people read.
var Beijing = words.Beijing

// Catalogues is one [Catalogue] for each language.
type Catalogues struct {
	all     []*Catalogue
	matcher language.Matcher
}

// catalogueFiles are those of a language: the public page's, which browsers fetch, and the
// console's, which they need not.
func catalogueFiles(tag string) []string {
	return []string{"locales/" + tag + ".json", "locales/console/" + tag + ".json"}
}

// LoadCatalogues reads the embedded texts.
func LoadCatalogues() (*Catalogues, error) {
	cs := &Catalogues{}
	var tags []language.Tag
	for _, tag := range languages {
		texts := map[string]string{}
		for _, name := range catalogueFiles(tag) {
			data, err := fs.ReadFile(locales, name)
			if err != nil {
				return nil, fmt.Errorf("texts of %s: %w", tag, err)
			}
			if err := json.Unmarshal(data, &texts); err != nil { // adds to what is there
				return nil, fmt.Errorf("texts of %s: %w", name, err)
			}
		}
		cs.all = append(cs.all, words.New(tag, texts))
		tags = append(tags, language.MustParse(tag))
	}
	cs.matcher = language.NewMatcher(tags)
	return cs, nil
}

// All returns the catalogues, the original language first.
func (cs *Catalogues) All() []*Catalogue { return cs.all }

// ByTag returns the catalogue with exactly this tag.
func (cs *Catalogues) ByTag(tag string) (*Catalogue, bool) {
	for _, c := range cs.all {
		if c.Tag == tag {
			return c, true
		}
	}
	return nil, false
}

// Match returns the best catalogue for an Accept-Language header.
func (cs *Catalogues) Match(acceptLanguage string) *Catalogue {
	tags, _, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil {
		return cs.all[0]
	}
	_, i, _ := cs.matcher.Match(tags...)
	return cs.all[i]
}
