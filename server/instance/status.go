package instance

import (
	"context"
	"time"

	"stele/crypto/sm"
	"stele/notary/issue/archive"
	"stele/notary/log/follow"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
	"stele/server/http/api"
)

// defaultStatusPause is the least time between status statements where the configuration says nothing.
const defaultStatusPause = time.Minute

// openFollower makes what follows the log and, in the server that sequences, enters status statements. It ends
// before the sequencer, which logs what it has entered.
func (in *Instance) openFollower() {
	in.follower = follow.New(in.DB.Log, follow.Options{Signer: in.signer, Pause: in.Config.StatusPause,
		Leads: func() bool { return in.batch.Leads() }, Clock: in.clock.Check, Kept: in.keepStatus,
		Wake: func() { in.batch.Wake() }, Now: time.Now, Log: in.log, Outages: in.outages})
	in.jobs.add(stageLog, "follower", in.follower.Run)
}

// statuses are what bundles show of records' standing.
type statuses struct{ in *Instance }

// Newest implements [archive.Statuses].
func (s statuses) Newest(ctx context.Context) (uint64, *archive.AnchoredCheckpoint, error) {
	return s.in.DB.Log.NewestStatus(ctx)
}

// Map implements [archive.Statuses].
func (s statuses) Map(index uint64) (follow.Statement, bool) { return s.in.follower.At(index) }

// Revocation implements [archive.Statuses].
func (s statuses) Revocation(ctx context.Context, certificate sm.Digest) (status.Revocation, statement.Entry, error) {
	return s.in.DB.Log.Revocation(ctx, certificate)
}

// keepStatus has the tail hold a status statement, which no group of intake brought.
func (in *Instance) keepStatus(ctx context.Context, index uint64) {
	if in.tail != nil {
		in.tail.PutStored(ctx, index, index+1)
	}
}

// statusHealth says whether the log contradicts itself.
func (in *Instance) statusHealth() (api.Check, bool) {
	err := in.follower.Contradiction()
	if err == nil {
		return api.Check{}, false
	}
	return api.Check{Name: "status", Detail: err.Error()}, true
}
