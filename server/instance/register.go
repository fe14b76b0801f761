package instance

import (
	"context"
	"time"

	"stele/crypto/keystore"
	"stele/notary/issue/archive"
	"stele/notary/register/class"
	"stele/notary/register/erasure"
	"stele/notary/register/intake"
	"stele/notary/register/staging"
	"stele/notary/register/upload"
)

// openRegister opens what takes documents in, finds them again and erases them.
func (in *Instance) openRegister(ctx context.Context, pass keystore.Secret) error {
	in.Archive = archive.New(in.DB.Log, in.Tiles, in.Trust)
	in.Archive.SetStatuses(statuses{in})
	in.Archive.SetEntries(in.DB.Log)
	in.eraser = erasure.New(in.DB.Log, in.Objects, in.erasureTail(), time.Now, in.log)
	in.Classes = class.NewBook(in.DB.Office, time.Now)
	in.openUploads()
	in.openIntake(ctx, pass)
	before := func() time.Time { return time.Now().Add(-in.Config.SweepAfter) }
	in.sweeps = append(in.sweeps,
		sweep{"documents", func(ctx context.Context) (int, error) {
			return staging.Sweep(ctx, in.Objects, in.DB.Log, before(), in.log)
		}},
		sweep{"temporary", func(ctx context.Context) (int, error) { return sweepTemporary(ctx, in.Objects, before()) }})
	return nil
}

func (in *Instance) openUploads() {
	limits := upload.DefaultLimits()
	limits.MaxSize, limits.MaxOpen = in.Config.MaxDocument, in.Config.MaxUploads
	limits.ExpireIn = in.Config.UploadExpiry
	in.Uploads = upload.New(in.DB.Log, in.Objects, upload.Options{Records: in.Archive, Place: in.place(),
		Signer: uploadSigner(in.Objects), Limits: limits, Now: time.Now, Log: in.log})
	in.jobs.add(stageOffice, "uploads", in.Uploads.Run)
	in.sweeps = append(in.sweeps, sweep{"uploads", in.Uploads.Sweep})
}

func (in *Instance) openIntake(ctx context.Context, pass keystore.Secret) {
	limits := intake.DefaultLimits()
	limits.MaxDocument, limits.MaxBatch = in.Config.MaxDocument, in.Config.MaxBatch
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	signers := in.newSigners(pass)
	in.Intake = intake.New(ctx, in.DB.Log, in.Objects, intake.Options{Signers: signers.find, Forget: signers.forget,
		Uploads: in.Uploads, Classes: in.Classes, Limits: limits, Now: time.Now, Clock: in.clock.Check, Log: in.log,
		OnNew: in.batch.Wake, Outages: in.outages, Tail: in.intakeTail()})
	in.jobs.addCloser(stageIntake, "intake", nil, func() error { stop(); in.Intake.Wait(); return nil })
	in.sweeps = append(in.sweeps, sweep{"prepared", in.Intake.SweepPrepared})
}

// place is where documents lie before they are records.
func (in *Instance) place() staging.Place {
	return staging.Place{Locked: in.Config.S3RetentionMode != "" || in.Config.S3RetentionDays != 0}
}
