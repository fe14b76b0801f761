package web

import "net/http"

// homePage is the first screen: a sentence, the drop zone, the field for a number.
type homePage struct {
	Number    string // as it was typed, when it is no number
	BadNumber bool
}

func (w *Web) home(rw http.ResponseWriter, r *http.Request) {
	w.show(rw, r, http.StatusOK, "home", w.textsOf(r).Text("home.title"), homePage{})
}
