package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"stele/notary/cmd/verifier"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
	"stele/notary/proof/trustfile"
	"stele/server/client"
)

type trustUpdateCmd struct {
	File  string   `arg:"" help:"The trust file."`
	From  []string `sep:"none" required:"" help:"A service, or a saved answer of its /api/v1/chain/epochs, or successions of its roots; several answers if it has several pages." placeholder:"URL|FILE"`
	Chain string   `help:"The chain, to be sure that it is this one." placeholder:"ID"`
	Out   string   `required:"" help:"File to write; it must not be there." placeholder:"FILE"`
}

// Help implements kong.HelpProvider.
func (*trustUpdateCmd) Help() string {
	return "Each hand-over must follow from the epoch 0 that the file pins, by signatures of more than two thirds of " +
		"the members before, and agree with what is pinned already: the service is not believed. An epoch is in " +
		"office " +
		"since the first header that it certified, which the answer proves; where it certified none yet, since now. " +
		"Evidence that leads around a pinned epoch, or that members before it sign for a later time, then fails. " +
		"Nothing is ever removed.\n\n" +
		"A root that follows a pinned one is pinned as well, for the same agencies, if both have signed the " +
		"succession: the pinned root is believed, the service is not.\n\n" +
		"A service can hide its newest hand-overs: compare with another source, see stele trust diff."
}

// Run pins epochs.
func (c *trustUpdateCmd) Run(ctx context.Context, s *streams) error {
	t, err := readTrust(c.File, proof.ParseTrust)
	if err != nil {
		return err
	}
	successions, rest, err := successionsOf(ctx, s, c.From)
	if err != nil {
		return err
	}
	updated, roots, err := trustfile.Succeed(t, successions)
	if err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	for _, r := range roots {
		fmt.Fprintf(s.err, "Pinned a root: %s.\n", r.Line())
	}
	if len(rest) == 0 {
		if len(roots) == 0 {
			fmt.Fprintln(s.out, "Nothing new: no root in the file follows a pinned one, or all that do are pinned.")
		}
		return s.writeTrust(c.Out, updated)
	}
	given, err := handOvers(ctx, s, rest)
	if err != nil {
		return err
	}
	if c.Chain != "" && c.Chain != given.chain {
		return fmt.Errorf("%s is of the chain %q, not of %q", strings.Join(rest, " "), given.chain, c.Chain)
	}
	updated, pinned, err := trustfile.Update(updated, given.chain, given.terms, time.Now())
	if err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	if err := s.writeTrust(c.Out, updated); err != nil {
		return err
	}
	return s.sayPinned(t, given, pinned)
}

// successionsOf asks a service for the successions of its roots, or reads those among the files. rest are the sources
// that may have hand-overs: the service, and all other files.
func successionsOf(ctx context.Context, s *streams, from []string) (list []trustfile.SignedSuccession, rest []string,
	err error) {
	if isService(from) {
		text, err := (&client.Client{BaseURL: from[0], Attempts: 3, OnRetry: s.retries}).Successions(ctx)
		if err != nil {
			return nil, nil, remoteFailure(err)
		}
		if text != nil {
			list, err = trustfile.ParseSuccessions(text)
		}
		return list, from, err
	}
	for _, name := range from {
		text, err := verifier.ReadFile(name, maxSaved)
		if err != nil {
			return nil, nil, usage(err)
		}
		if !trustfile.IsSuccessions(text) {
			rest = append(rest, name)
			continue
		}
		more, err := trustfile.ParseSuccessions(text)
		if err != nil {
			return nil, nil, usage(fmt.Errorf("%s: %w", name, err))
		}
		list = append(list, more...)
	}
	return list, rest, nil
}

func isService(from []string) bool {
	return len(from) == 1 && (strings.HasPrefix(from[0], "https://") || strings.HasPrefix(from[0], "http://"))
}

func (s *streams) sayPinned(before *proof.Trust, given *handOverList, pinned []trustfile.Pinned) error {
	var b strings.Builder
	if before.Format != proof.TrustV2 {
		b.WriteString("The file was of version 1, which cannot pin epochs; it is of version 2 now.\n")
	}
	for _, p := range pinned {
		why := "the first header that it certified"
		if !p.Proven {
			why = "no header of its own proves an earlier time"
		}
		fmt.Fprintf(&b, "Pinned epoch %d of chain %s, %s, in office since %s (%s).\n",
			p.Number, given.chain, p.Hash, when(p.From), why)
	}
	if n := len(pinned); n > 0 && len(pinned[n-1].Unnamed) > 0 {
		fmt.Fprintf(&b, "No organization is named for its validators %s: see stele trust make --member.\n",
			strings.Join(pinned[n-1].Unnamed, ", "))
	}
	if len(pinned) == 0 {
		fmt.Fprintf(&b, "Nothing new: the newest epoch there, %d, is pinned already.\n", len(given.terms))
	}
	_, err := s.out.Write([]byte(b.String()))
	return err
}

// handOverList is what a service says of its chain: in form, and not verified.
type handOverList struct {
	chain string
	terms []chainview.Term
}

// maxSaved bounds a saved answer in bytes; the service's have about 1 MiB at most.
const maxSaved = 64 << 20

// handOvers asks a service, or reads saved answers in the order of their names on the command line.
func handOvers(ctx context.Context, s *streams, from []string) (*handOverList, error) {
	if isService(from) {
		c := &client.Client{BaseURL: from[0], Attempts: 3, OnRetry: s.retries}
		answer, err := c.Epochs(ctx)
		if err != nil {
			return nil, remoteFailure(err)
		}
		return termsOf(answer)
	}
	all := &client.ChainEpochs{}
	for _, name := range from {
		text, err := verifier.ReadFile(name, maxSaved)
		if err != nil {
			return nil, usage(err)
		}
		var page client.ChainEpochs
		if err := json.Unmarshal(text, &page); err != nil || page.Chain == "" || len(text) > maxSaved {
			return nil, usage(fmt.Errorf("%s is no saved answer of /api/v1/chain/epochs", name))
		}
		if all.Chain != "" && page.Chain != all.Chain {
			return nil, usage(fmt.Errorf("%s is of the chain %q, the file before it of %q", name, page.Chain,
				all.Chain))
		}
		all.Chain, all.Epochs, all.Next = page.Chain, append(all.Epochs, page.Epochs...), page.Next
	}
	if all.Next != nil {
		fmt.Fprintf(s.err, "The saved answer goes on with epoch %d, in another answer.\n", *all.Next)
	}
	return termsOf(all)
}

func termsOf(answer *client.ChainEpochs) (*handOverList, error) {
	list := &handOverList{chain: answer.Chain}
	for _, e := range answer.Epochs {
		signed, err := anchorproof.ParseSignedEpoch([]byte(e.Signed))
		if err != nil {
			return nil, fmt.Errorf("epoch %d in the answer: %w", e.Number, err)
		}
		term := chainview.Term{Signed: signed}
		if e.First != nil {
			h, err := anchorproof.ParseHeader(e.First.Header)
			if err != nil {
				return nil, fmt.Errorf("first header of epoch %d in the answer: %w", e.Number, err)
			}
			term.First = &chainview.Certified{Header: h}
			for _, c := range e.First.Cosignatures {
				sig := anchorproof.Cosignature{Validator: c.Validator, Signature: c.Signature}
				term.First.Cosignatures = append(term.First.Cosignatures, sig)
			}
		}
		list.terms = append(list.terms, term)
	}
	if list.chain == "" {
		return nil, errors.New("the answer does not say of which chain it is")
	}
	return list, nil
}
