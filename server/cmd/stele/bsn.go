package main

import (
	bsn "stele/notary/proof/bsnproof/gateway"
	"stele/server/instance"
)

type bsnCmd struct {
	Key bsnKeyCmd `cmd:"" help:"Make the access key of a BSN application and print the public half for the portal."`
}

type bsnKeyCmd struct {
	instance.Config `embed:""`
	App             string `required:"" help:"App code." placeholder:"CODE"`
	Algorithm       string `default:"sm2" enum:"sm2,secp256r1,secp256k1" help:"Algorithm of the application: sm2, secp256r1 or secp256k1."`
}

// Run makes the key, encrypted in the key folder.
func (c *bsnKeyCmd) Run(s *streams) error {
	cfg, err := c.Resolve()
	if err != nil {
		return err
	}
	public, err := instance.NewBSNKey(cfg, c.App, bsn.Algorithm(c.Algorithm))
	if err != nil {
		return err
	}
	_, err = s.out.Write(public)
	return err
}
