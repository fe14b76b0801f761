// Package fill puts values into the {places} of a text, in the same way on the server and in
// the browser's verifier, which does not embed the catalogues themselves.
package fill

import "strings"

// Places fills a text from pairs of name and value. A value is never filled again; a place
// that no pair names stays as it is.
func Places(text string, pairs ...string) string {
	if len(pairs) == 0 {
		return text
	}
	places := make([]string, len(pairs))
	for i := range pairs {
		places[i] = pairs[i]
		if i%2 == 0 {
			places[i] = "{" + pairs[i] + "}"
		}
	}
	return strings.NewReplacer(places...).Replace(text)
}
