//go:build !linux

package main

import (
	"errors"
	"os"
)

// readHidden refuses terminals on systems where hiding what is typed was not tried out.
func readHidden(f *os.File) (line string, ok bool, err error) {
	if isTerminal(f) {
		return "", true, errors.New("name a file with the password")
	}
	return "", false, nil
}
