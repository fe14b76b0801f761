package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"stele/notary/proof"
	"stele/server/client"
)

// A file is notarized, and its proof kept once it is anchored and verified here.
func Example() {
	ctx := context.Background()
	roots, err := os.ReadFile("trust.json") // from a source that you trust, once
	if err != nil {
		log.Fatal(err)
	}
	trust, err := proof.ParseTrust(roots)
	if err != nil {
		log.Fatal(err)
	}
	c := &client.Client{BaseURL: "https://stele.example.gov.cn", Key: client.Key(os.Getenv("STELE_KEY")), Trust: trust}

	f, err := os.Open("decision.pdf")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	doc, err := client.FileDocument(f)
	if err != nil {
		log.Fatal(err)
	}
	rec, err := c.Notarize(ctx, doc, client.NewRecord{Title: "Decision 17", Filename: "decision.pdf",
		IdempotencyKey: "decision-2026-17"})
	if err != nil {
		log.Fatal(err)
	}
	if rec, err = c.WaitFor(ctx, rec.Number, client.Anchored); err != nil {
		log.Fatal(err)
	}
	bundle, err := c.Bundle(ctx, rec.Number, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(rec.Number+".bundle.json", bundle.JSON, 0o644); err != nil {
		log.Fatal(err)
	}
}

// A program branches on the code of a refusal and shows its detail to people.
func ExampleProblem() {
	err := error(&client.Problem{Status: 409, Code: "conflict", Detail: "The record was revoked already."})
	var p *client.Problem
	if errors.As(err, &p) && p.Code == "conflict" {
		fmt.Println("nothing to do:", p.Detail)
	}
	// Output: nothing to do: The record was revoked already.
}

// The changes feed is followed, and goes on where it was left.
func ExampleClient_Events() {
	c := &client.Client{BaseURL: "https://stele.example.gov.cn", Key: client.Key(os.Getenv("STELE_KEY"))}
	last, _ := os.ReadFile("cursor") // none at first
	for page, err := range c.Events(context.Background(),
		client.EventQuery{After: string(last), Types: []string{"record.anchored"}, Follow: true}) {
		if err != nil {
			log.Fatal(err)
		}
		for _, e := range page.Events {
			r, err := e.Record()
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(r.Number, "is anchored")
		}
		if err := os.WriteFile("cursor", []byte(page.Next), 0o644); err != nil { // after the events were handled
			log.Fatal(err)
		}
	}
}

// Many digests at once; each succeeds or fails alone.
func ExampleClient_Batch() {
	c := &client.Client{BaseURL: "https://stele.example.gov.cn", Key: client.Key(os.Getenv("STELE_KEY"))}
	var items []client.BatchItem // filled from your own register
	results, err := c.Batch(context.Background(), items)
	for i, r := range results {
		if r.Err != nil {
			log.Printf("%s: %v", items[i].Reference, r.Err)
			continue
		}
		fmt.Println(items[i].Reference, r.Record.Number)
	}
	if err != nil {
		log.Fatal(err)
	}
}
