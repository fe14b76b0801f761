package main

import (
	"bufio"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// readHidden reads a line from a terminal without showing it; ok is false when f is none.
func readHidden(f *os.File) (line string, ok bool, err error) {
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", false, nil
	}
	hidden := *was
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", true, err
	}
	line, err = bufio.NewReader(f).ReadString('\n')
	return strings.TrimRight(line, "\r\n"), true, errors.Join(err, unix.IoctlSetTermios(fd, unix.TCSETS, was))
}
