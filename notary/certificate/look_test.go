package certificate_test

import (
	"os"
	"testing"
)

func TestLook(t *testing.T) {
	dir := os.Getenv("LOOK")
	for name, v := range variants(t) {
		fatalIfErr(t, os.WriteFile(dir+"/"+name+".pdf", v.render(t), 0o644))
	}
}
