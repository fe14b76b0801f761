package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/cmd/verifier"
	"stele/notary/office/people"
	"stele/server/instance"
)

type authorityCmd struct {
	Add    authorityAddCmd    `cmd:"" help:"Let a region's agencies get their certificates from an authority of its own, below the root."`
	Sign   authoritySignCmd   `cmd:"" help:"Make an authority's certificate with the root key, on a machine without a network."`
	Accept authorityAcceptCmd `cmd:"" help:"Take the certificate that the root made: the authority issues from now on."`
	End    authorityEndCmd    `cmd:"" help:"Have an authority issue no more; what it issued stays valid."`
	List   authorityListCmd   `cmd:"" help:"List the roots and authorities of the key folder."`
}

type authorityAddCmd struct {
	instance.Config `embed:""`
	Region          string `required:"" help:"Region (GB/T 2260) of the agencies: 2, 4 or 6 digits. The nearest authority issues." placeholder:"DIGITS"`
	Name            string `required:"" help:"Name of the authority in its certificate."`
	Request         string `help:"Write a certificate request to this new file instead, for a root key that is kept elsewhere." placeholder:"FILE"`
}

// Help implements kong.HelpProvider.
func (*authorityAddCmd) Help() string {
	return "The authority's key is made in the key folder. With the root key on this machine the rest is done at " +
		"once. Else write a --request, carry it to the machine that has the root key, make the certificate there " +
		"with 'stele authority sign', and bring it back to 'stele authority accept'. Later certificates of that " +
		"region's agencies need the authority's key alone: the root key can stay offline. Certificates that agencies " +
		"have stay valid; 'stele agency renew' gives them new ones."
}

// Run adds an authority.
func (c *authorityAddCmd) Run(ctx context.Context, s *streams) error {
	if c.Request != "" {
		return withStores(ctx, c.Config, func(st *instance.Stores) error {
			if err := free(c.Request); err != nil {
				return usage(err)
			}
			request, err := st.RequestAuthority(c.Region, c.Name)
			if err != nil {
				return err
			}
			if err := writeFresh(c.Request, string(request)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "Nothing is issued with it yet. Next, where the root key is: stele authority "+
				"sign %s --name %q\n", c.Request, c.Name)
			return err
		})
	}
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		request, err := st.RequestAuthority(c.Region, c.Name)
		if err != nil {
			return err
		}
		der, err := st.CertifyHere(ctx, request, c.Name, time.Now())
		if err != nil {
			return err
		}
		return acceptAuthority(ctx, s, st, p, c.Region, der)
	})
}

type authoritySignCmd struct {
	OfflineRoot
	Request string `arg:"" type:"existingfile" help:"The certificate request (PKCS #10)."`
	Name    string `required:"" help:"Name of the authority in its certificate."`
	Out     string `required:"" help:"New file for the certificate." placeholder:"FILE"`
}

// Run makes an authority's certificate.
func (c *authoritySignCmd) Run(s *streams) error {
	if err := free(c.Out); err != nil {
		return usage(err)
	}
	request, err := verifier.ReadFile(c.Request, maxPEM)
	if err != nil {
		return usage(err)
	}
	root, key, err := c.open()
	if err != nil {
		return err
	}
	der, err := instance.CertifyAuthority(request, c.Name, root, key, time.Now())
	if err != nil {
		return err
	}
	if err := writeFresh(c.Out, string(pki.EncodePEM(der))); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "Made the certificate of %s with the SM3 %s. Bring %s back: stele authority accept\n",
		c.Name, sm.Sum(der), c.Out)
	return err
}

// actAuthority is a new authority in the audit trail; it is noted before it is done.
const actAuthority people.Action = "authority_accept"

type authorityAcceptCmd struct {
	instance.Config `embed:""`
	Region          string `required:"" help:"The region that its key was made for." placeholder:"DIGITS"`
	Certificate     string `arg:"" type:"existingfile" help:"The certificate (PEM)."`
}

// Run takes an authority's certificate.
func (c *authorityAcceptCmd) Run(ctx context.Context, s *streams) error {
	der, err := readCertificate(c.Certificate)
	if err != nil {
		return err
	}
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		return acceptAuthority(ctx, s, st, p, c.Region, der)
	})
}

func acceptAuthority(ctx context.Context, s *streams, st *instance.Stores, p *people.People, region string,
	der []byte) error {
	// A crash after this leaves a line about what was not done: it says "was about to".
	if err := noteCommand(ctx, p, actAuthority, "", "", fmt.Sprintf("region=%s; certificate=%s", region,
		sm.Sum(der))); err != nil {
		return err
	}
	cert, err := st.AcceptAuthority(ctx, region, der, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s issues the certificates of agencies in region %s from now on; its own, with the "+
		"SM3 %s, ends on %s. Back up the key folder.\n", cert.Subject().CommonName, region, sm.Sum(der),
		cert.NotAfter().Format(time.DateOnly))
	return err
}

// actAuthorityEnd is the end of an authority in the audit trail; it is noted before it is done.
const actAuthorityEnd people.Action = "authority_end"

type authorityEndCmd struct {
	instance.Config `embed:""`
	Region          string `required:"" help:"Its region." placeholder:"DIGITS"`
}

// Run ends an authority.
func (c *authorityEndCmd) Run(ctx context.Context, s *streams) error {
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		// A crash after this leaves a line about what was not done: it says "was about to".
		if err := noteCommand(ctx, p, actAuthorityEnd, "", "", "region="+c.Region); err != nil {
			return err
		}
		if err := st.EndAuthority(c.Region); err != nil {
			return err
		}
		_, err := fmt.Fprintf(s.out, "The authority of region %s issues no more. What it issued stays valid: if its "+
			"key was stolen, 'stele agency rekey' each agency of the region and revoke the former certificates.\n",
			c.Region)
		return err
	})
}

type authorityListCmd struct {
	instance.Config `embed:""`
	JSON            bool `name:"json" help:"Print JSON."`
}

// listedAuthority is a line of the list.
type listedAuthority struct {
	SM3      string `json:"sm3"`
	Name     string `json:"name"`
	Region   string `json:"region,omitempty"` // none: a root
	Root     string `json:"root"`             // SM3 of the root above, or its own
	NotAfter string `json:"notAfter"`
	Former   bool   `json:"former,omitempty"` // it issues no more
	Key      bool   `json:"key"`              // whether its key is on this machine
}

// Run lists roots and authorities.
func (c *authorityListCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		all, err := st.Config.Authorities()
		if err != nil {
			return err
		}
		out := make([]listedAuthority, len(all))
		for i, a := range all {
			cert, err := a.Certificate()
			if err != nil {
				return err
			}
			out[i] = listedAuthority{SM3: sm.Sum(a.Chain[0]).String(), Name: cert.Subject().CommonName,
				Region: a.Region, Former: a.Former, Root: sm.Sum(a.Chain[len(a.Chain)-1]).String(),
				NotAfter: rfc3339(cert.NotAfter()), Key: a.HasKey()}
		}
		if c.JSON {
			return s.json(out)
		}
		for _, l := range out {
			fmt.Fprintln(s.out, l.line())
		}
		return nil
	})
}

func (l listedAuthority) line() string {
	words := []string{l.SM3, "root"}
	if l.Region != "" {
		words[1] = "region " + l.Region
	}
	words = append(words, l.Name, "until "+l.NotAfter[:len(time.DateOnly)])
	if l.Former {
		words = append(words, "issues no more")
	}
	if !l.Key {
		words = append(words, "key elsewhere")
	}
	return strings.Join(words, "  ")
}
