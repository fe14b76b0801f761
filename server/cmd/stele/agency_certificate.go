package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/cmd/verifier"
	"stele/notary/log/revoke"
	"stele/notary/office/people"
	"stele/notary/proof/status"
	"stele/server/instance"
)

type agencyCertificateCmd struct {
	List      certificateListCmd   `cmd:"" help:"List the certificates that an agency has had, and what became of them."`
	Revoke    certificateRevokeCmd `cmd:"" help:"Revoke a certificate of an agency, or write the request for it."`
	Sign      certificateSignCmd   `cmd:"" help:"Sign such a request with the root key, on a machine without a network."`
	Submit    certificateSubmitCmd `cmd:"" help:"Submit what was signed: it takes effect at once."`
	RenewList certificateRenewCmd  `cmd:"" help:"Make the certificate revocation list anew, before it is too old."`
}

type certificateListCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	JSON            bool   `name:"json" help:"Print JSON."`
}

// listedCertificate is a line of the list.
type listedCertificate struct {
	SM3       string `json:"sm3"`
	Serial    string `json:"serial"`
	NotBefore string `json:"notBefore"`
	NotAfter  string `json:"notAfter"`
	EndedAt   string `json:"endedAt,omitempty"`
	Ended     string `json:"endedReason,omitempty"`
	Revoked   string `json:"revoked,omitempty"` // the reason
	Since     string `json:"since,omitempty"`
	Index     uint64 `json:"index,omitempty"` // of the entry that revokes it
}

// Run lists certificates.
func (c *certificateListCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		a, err := findAgency(ctx, st, c.Agency)
		if err != nil {
			return err
		}
		all, err := st.DB.Log.Certificates(ctx, a.ID)
		if err != nil {
			return err
		}
		out := make([]listedCertificate, len(all))
		for i, one := range all {
			if out[i], err = listCertificate(ctx, st, one); err != nil {
				return err
			}
			if !c.JSON {
				fmt.Fprintln(s.out, out[i].line())
			}
		}
		if c.JSON {
			return s.json(out)
		}
		return nil
	})
}

func listCertificate(ctx context.Context, st *instance.Stores, one notary.Certificate) (listedCertificate, error) {
	cert, err := pki.Parse(one.Chain[0])
	if err != nil {
		return listedCertificate{}, err
	}
	l := listedCertificate{SM3: one.Fingerprint.String(), Serial: cert.SerialNumber(),
		NotBefore: rfc3339(cert.NotBefore()), NotAfter: rfc3339(cert.NotAfter()), Ended: string(one.EndedReason)}
	if !one.EndedAt.IsZero() {
		l.EndedAt = rfc3339(one.EndedAt)
	}
	r, _, err := st.DB.Log.Revocation(ctx, one.Fingerprint)
	if errors.Is(err, notary.ErrNotFound) {
		return l, nil
	}
	l.Revoked, l.Since, l.Index = r.Reason, rfc3339(r.Since), r.Index
	return l, err
}

func (l listedCertificate) line() string {
	line := fmt.Sprintf("%s  %s to %s", l.SM3, l.NotBefore[:len(time.DateOnly)], l.NotAfter[:len(time.DateOnly)])
	switch {
	case l.Revoked != "":
		line += fmt.Sprintf("  revoked: %s since %s, entry %d of the log", l.Revoked, l.Since, l.Index)
	case l.EndedAt != "":
		line += fmt.Sprintf("  ended: %s since %s", l.Ended, l.EndedAt)
	}
	return line
}

type certificateRevokeCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	Reason          string `required:"" enum:"keyCompromise,superseded,cessationOfOperation" help:"Why: keyCompromise (somebody else may have the key: all certificates of it are revoked), superseded (another one took its place) or cessationOfOperation (the agency signs no more)."`
	Since           string `help:"From when on it does not count, such as 2026-11-30T08:00:00+08:00; now if empty. What was anchored before stays genuine." placeholder:"TIME"`
	Certificate     string `help:"SM3 of the certificate, from 'stele agency certificate list'; needed if the agency has had several." placeholder:"SM3"`
	Request         string `help:"Write the request to this new file instead, for a root key that is kept elsewhere." placeholder:"FILE"`
}

// Help implements kong.HelpProvider.
func (*certificateRevokeCmd) Help() string {
	return "The root signs it. With the root key on this machine that is done at once. Else write a --request, carry " +
		"it to the machine that has the key, sign it there with 'stele agency certificate sign', and bring it back " +
		"to 'stele agency certificate submit'.\n\n" +
		"From then on no server signs with the certificate, the log says so for ever, and every bundle with a status " +
		"that is newer shows it: a record that was anchored before the time stays genuine, a later one is invalid. " +
		"'stele agency rekey' gives the agency another key."
}

// Run revokes a certificate.
func (c *certificateRevokeCmd) Run(ctx context.Context, s *streams) error {
	now := time.Now()
	req := instance.RevokeRequest{Reason: c.Reason, Since: now}
	var err error
	if c.Since != "" {
		if req.Since, err = time.Parse(time.RFC3339, c.Since); err != nil || req.Since.After(now) {
			return usage(fmt.Errorf("--since %q: a time that is not yet to come, with its zone, is expected, such as "+
				"2026-11-30T08:00:00+08:00", c.Since))
		}
	}
	if c.Certificate != "" {
		if req.Certificate, err = sm.ParseDigest(c.Certificate); err != nil {
			return usage(fmt.Errorf("--certificate: %w", err))
		}
	}
	request := func(ctx context.Context, st *instance.Stores) ([]revoke.Request, error) {
		a, err := findAgency(ctx, st, c.Agency)
		if err != nil {
			return nil, err
		}
		return st.RequestRevocation(ctx, a, req, now)
	}
	return requestOrDo(ctx, c.Config, s, c.Request, request)
}

type certificateRenewCmd struct {
	instance.Config `embed:""`
	Issuer          string `help:"SM3 of the certificate of the former root, or of the authority, whose list it is, from 'stele authority list'; the present root's if empty." placeholder:"SM3"`
	Request         string `help:"Write the request to this new file instead, for a root key that is kept elsewhere." placeholder:"FILE"`
}

// Run renews the list.
func (c *certificateRenewCmd) Run(ctx context.Context, s *streams) error {
	var issuer sm.Digest
	if c.Issuer != "" {
		var err error
		if issuer, err = sm.ParseDigest(c.Issuer); err != nil {
			return usage(fmt.Errorf("--issuer: %w", err))
		}
	}
	return requestOrDo(ctx, c.Config, s, c.Request,
		func(ctx context.Context, st *instance.Stores) ([]revoke.Request, error) {
			r, err := st.RequestList(ctx, issuer, time.Now())
			return []revoke.Request{r}, err
		})
}

// requestOrDo writes a request to a file, or has it signed with the root key that is here and submits it.
func requestOrDo(ctx context.Context, c instance.Config, s *streams, file string,
	request func(context.Context, *instance.Stores) ([]revoke.Request, error)) error {
	if file != "" {
		return withStores(ctx, c, func(st *instance.Stores) error {
			all, err := request(ctx, st)
			if err != nil {
				return err
			}
			return writeRequests(s, file, all)
		})
	}
	return withPeople(ctx, c, s, func(st *instance.Stores, p *people.People) error {
		all, err := request(ctx, st)
		if err != nil {
			return err
		}
		for i, r := range all { // nothing is submitted unless all of them can be
			if all[i], err = st.SignHere(ctx, r); err != nil {
				return err
			}
		}
		for _, r := range all {
			if err := submit(ctx, s, st, p, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeRequests writes each request to a file, those after the first with a number in the name.
func writeRequests(s *streams, file string, all []revoke.Request) error {
	for i, r := range all {
		name := file
		if i > 0 {
			ext := filepath.Ext(file)
			name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(file, ext), i+1, ext)
		}
		if err := writeRequest(name, r); err != nil {
			return err
		}
		fmt.Fprintf(s.out, "%s asks that\n  %s\nSee and sign it with the root: stele agency certificate sign %s\n",
			name, strings.Join(r.Lines(), "\n  "), name)
	}
	_, err := fmt.Fprintln(s.out, "Nothing is done yet.")
	return err
}

func writeRequest(file string, r revoke.Request) error {
	text, err := r.Encode()
	if err != nil {
		return err
	}
	return writeFresh(file, string(text))
}

func readRequest(file string) (revoke.Request, error) {
	text, err := verifier.ReadFile(file, revoke.MaxSize+1)
	if err != nil {
		return revoke.Request{}, usage(err)
	}
	r, err := revoke.Parse(text)
	if err != nil {
		return r, usage(fmt.Errorf("%s: %w", file, err))
	}
	return r, nil
}

type certificateSignCmd struct {
	OfflineKey
	Request string `arg:"" type:"existingfile" help:"The request."`
	Root    string `type:"existingfile" help:"The root's certificate: root.crt." placeholder:"FILE"`
	Key     string `type:"existingfile" help:"The root's key: root.key." placeholder:"FILE"`
	Out     string `help:"New file for what is signed. Without it nothing is signed: what would be is shown." placeholder:"FILE"`
}

// Run shows what a request asks for, or signs it.
func (c *certificateSignCmd) Run(s *streams) error {
	r, err := readRequest(c.Request)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "It asks that\n  %s\n", strings.Join(r.Lines(), "\n  "))
	if c.Out == "" {
		return nil
	}
	if c.Root == "" || c.Key == "" {
		return usage(errors.New("--out needs --root and --key"))
	}
	if err := free(c.Out); err != nil {
		return usage(err)
	}
	root, key, err := OfflineRoot{OfflineKey: c.OfflineKey, Root: c.Root, Key: c.Key}.open()
	if err != nil {
		return err
	}
	if r, err = r.Sign(root, key); err != nil {
		return err
	}
	if err := writeRequest(c.Out, r); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Signed. Bring %s back: stele agency certificate submit %s\n", c.Out, c.Out)
	return nil
}

type certificateSubmitCmd struct {
	instance.Config `embed:""`
	Signed          string `arg:"" type:"existingfile" help:"What the root has signed."`
}

// Run submits a signed request.
func (c *certificateSubmitCmd) Run(ctx context.Context, s *streams) error {
	r, err := readRequest(c.Signed)
	if err != nil {
		return err
	}
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		if r, err = st.SignListHere(ctx, r); err != nil {
			return err
		}
		return submit(ctx, s, st, p, r)
	})
}

func submit(ctx context.Context, s *streams, st *instance.Stores, p *people.People, r revoke.Request) error {
	for _, one := range r.Revocations {
		said, err := status.ParseCertificateRevocation([]byte(one.Statement))
		if err != nil {
			return err
		}
		a, err := findAgency(ctx, st, said.Agency)
		if err != nil {
			return err
		}
		// A crash after this leaves a line about what was not done: it says "was about to".
		if err := noteCommand(ctx, p, people.ActAgencyRevoke, "", a.ID, fmt.Sprintf("certificate=%s; reason=%s; "+
			"since=%s; code=%s", said.Certificate, said.Reason, rfc3339(said.Since), a.Code)); err != nil {
			return err
		}
	}
	first, err := st.SubmitRevocation(ctx, r, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Done:\n  %s\n", strings.Join(r.Lines(), "\n  "))
	if n := len(r.Revocations); n > 0 {
		fmt.Fprintf(s.out, "No server signs with it any more. The log says so from entry %d on, and bundles with a "+
			"newer "+
			"status show it. If the agency is to sign, give it another key: stele agency rekey\n", first)
	}
	return nil
}
