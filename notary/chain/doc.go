// Package chain is the e-government chain: an application on CometBFT v0.38 and a node
// that runs it inside the calling process. The same code is one validator inside the
// server and a network of validators run by several cities.
//
// The chain commits checkpoints of logs and refuses what would rewrite a log's history.
// Formats and their verification are in notary/proof/anchorproof and name no engine.
//
// # Flow of one checkpoint
//
//	H    a block commits the checkpoint; its header is open: index and roots, no time yet
//	H+1  follows at once because the application hash changed. Validators sign the header
//	     of H, with the time of H+1, in the extensions of their votes for H+1; executing
//	     H+1 closes the header with that time
//	H+2  its proposer verifies the extensions once more and enters the certificate
//	     (cosignatures of more than two thirds of the power) as the first transaction.
//	     Certificates are not in the application hash, so the chain falls silent here
//
// So a header is certified by the epoch of H+1 at the earliest, and a checkpoint in H is taken
// from a log's key that the epoch of H+1 admits: evidence leads at least to the epoch that
// knows the key. The members' decision about a key counts from the block after it.
//
// Votes for H itself are never used: one given in a round that did not decide would be
// evidence for a block that lost. The time of H itself is useless on a silent chain: it is
// the time of the votes on the block before.
//
// A header whose quorum does not come together stays pending. While something is pending,
// the chain makes up to maxRetries further blocks, then falls silent; the node pokes it when
// its own signer works again (see poker).
//
// # State
//
// One bbolt file, app.db; all changes of a block in one synced write transaction at Commit.
//
//	m                     meta: height, frontier of the history tree, open header, epoch …
//	l/<origin>            the newest committed checkpoint of a log, as text
//	i/<origin>/<size>     header index and position of a checkpoint
//	a/<index>             texts of a header's checkpoints, in order
//	h/<index>             header, as text with epoch 0
//	p/<index>             marks a header that has no certificate yet
//	s/<index>             when this node first saw the header's block (local, not agreed)
//	c/<index>             certificate: epoch and cosignatures
//	e/<number>            signed epoch, canonical JSON
//	f/<number>            the lowest header that an epoch certified (derived, not agreed)
//	n/<level><index>      full subtrees of the history tree, from two leaves on (derived)
//	n                     how many headers those cover
//
// Numbers in keys are eight bytes, big endian.
//
// # Crashes
//
// FinalizeBlock writes to memory only. A crash before Commit leaves the state of the block
// before; a crash after it leaves the new state. The engine asks for the height at start
// (Info) and replays the block that is missing here from its own store. A transaction that
// was only in the mempool is gone: its submitter submits again. The sign state (sign.db) is
// synced before a signature leaves, so a restarted validator never contradicts itself.
package chain
