// Package certificate makes the certificate of registration: a PDF in Chinese and English
// that a person holds, with the record's bundle attached inside (package carrier).
//
// The pages say what the bundle proves, and no more. They keep apart two things that courts
// keep apart: that the document has not changed since it was registered, which anybody can
// check, and where it came from before, which the agency states. They never say that what
// the document says is true. The pages themselves prove nothing: anybody can draw such a
// page. What counts is the attachment, and the pages say how to check it.
//
// A certificate is a function of its input alone: no clock, no randomness, no network.
package certificate

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"stele/notary"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
	"stele/notary/register/class"
)

// Input is all that a certificate depends on.
type Input struct {
	Record notary.Record
	Bundle []byte        // the record's bundle, exactly as it is handed out
	Report *proof.Report // of proof.Verify on that bundle and the record's digest

	// PublicURL is where the public page is, such as https://stele.example.gov.cn.
	PublicURL string

	// Seal is the agency's seal as a PNG, or empty. Demonstration marks it as one that was
	// made without the key of a licensed certification authority: it then binds nobody, and
	// the certificate says so beside it.
	Seal          []byte
	Demonstration bool

	// Class is the agency's document class as it was when the record was issued; nil where the
	// agency had none of that name, and all attributes are printed as they are named.
	Class *Class
}

// Class is what a document class says about certificates.
type Class struct {
	Name  class.Name
	Print []Printed
}

// Printed is an attribute that certificates print, with what it is called.
type Printed struct {
	Attribute string
	Title     class.Name
}

// ErrNotAnchored means that there is nothing yet that others vouch for. A certificate is
// made for good: it is not made before.
var ErrNotAnchored = errors.New("the record is not anchored yet")

// AttachmentName is what the bundle is called inside a certificate.
func AttachmentName(number string) string { return number + ".bundle.json" }

// Render makes the certificate. It is safe for concurrent use.
func Render(in Input) ([]byte, error) {
	link, err := in.check()
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	f, err := loadFonts()
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	c, err := newCanvas(f)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	s := sheet{canvas: c, in: in, facts: newFacts(in), link: link}
	s.first()
	s.second()
	s.footers()
	if c.err != nil {
		return nil, fmt.Errorf("certificate: %w", c.err)
	}
	return assemble(c.pdf, in)
}

// check refuses what does not belong together and returns the address of the record's page.
func (in Input) check() (string, error) {
	r := in.Report
	switch {
	case r == nil || len(in.Bundle) == 0:
		return "", errors.New("bundle and report are needed")
	case !r.Verdict.Row().Sound:
		return "", fmt.Errorf("the evidence does not hold: %s", r.Summary)
	case r.AnchoredAt == "" || len(r.Anchors) == 0:
		return "", ErrNotAnchored
	case r.Number != in.Record.Number || r.Document.SM3 != in.Record.SM3.String():
		return "", fmt.Errorf("the report is of %s, the record is %s", r.Number, in.Record.Number)
	case len(in.Bundle) > carrier.MaxBundle:
		return "", errors.New("the bundle is too large")
	}
	return recordURL(in.PublicURL, in.Record)
}

// CheckPublicURL tells whether a setting can stand on certificates.
func CheckPublicURL(public string) error {
	const longest = 200 // bytes; longer ones make the QR code too fine to be read off paper
	u, err := url.Parse(public)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" || len(public) > longest {
		return fmt.Errorf("the public URL must be http:// or https:// with a host, nothing after the path, at most "+
			"%d bytes: %q", longest, public)
	}
	return nil
}

// recordURL is the address of the record's page, with the code that opens its attributes.
func recordURL(public string, r notary.Record) (string, error) {
	link := strings.TrimRight(public, "/") + "/r/" + r.Number
	if r.Code != "" {
		link += "?code=" + r.Code
	}
	return link, CheckPublicURL(public)
}
