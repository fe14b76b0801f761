package instance

import (
	"context"
	"time"

	"stele/crypto/keystore"
	"stele/notary/office/bulk"
	"stele/notary/office/filing"
	"stele/notary/office/stamp"
	"stele/notary/outage"
)

// openOffice opens what people hand in and sign: papers at the desk, bulk jobs, stamps.
func (in *Instance) openOffice(context.Context, keystore.Secret) error {
	scanner, err := in.Config.scanner()
	if err != nil {
		return err
	}
	if s, ok := scanner.(interface{ Ping(context.Context) error }); ok {
		in.outages.Watch(outage.Scanner, s.Ping)
	}
	documents := newReader(in.Config, in.log)
	in.stamps = stamp.NewStamper(in.DB.Office, documents, time.Now)
	in.Desk = filing.New(in.DB.Office, in.Objects, filing.Options{Notary: in.Intake, Records: in.Archive,
		Classes: in.Classes, Uploads: in.Uploads, Scanner: scanner, Place: in.place(),
		Marker: marker{in.stamps, publicURL(in.Config)}, Leases: in.DB, Holder: in.holder, Now: time.Now, Log: in.log,
		Outages: in.outages})
	in.jobs.add(stageOffice, "desk", in.Desk.Run)
	limits := bulk.DefaultLimits()
	limits.File, limits.Total = in.Config.MaxDocument, in.Config.MaxDocument // a zip holds as much as one document
	in.Bulk = bulk.New(in.DB.Office, in.Objects, bulk.Options{Notary: in.Intake, Records: in.Archive,
		Classes: in.Classes, Scanner: scanner, Tables: documents, Leases: in.DB, Holder: in.holder,
		Temp: in.Config.Data, Place: in.place(), Limits: limits, Now: time.Now, Log: in.log, Outages: in.outages})
	in.jobs.add(stageOffice, "bulk", in.Bulk.Run)
	in.sweeps = append([]sweep{{"bulk", in.Bulk.Sweep}}, in.sweeps...) // first: what it gives up is swept at once
	return nil
}
