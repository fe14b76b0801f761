// Package bsnpeer is a BSN gateway with applications of Fabric and FISCO BCOS behind it, for
// tests and demos: the protocol of package gateway over real HTTP, with macs checked and made,
// and ledgers that behave as the frameworks' do where a client can see it.
//
// FISCO BCOS: a transaction is answered with its receipt, in a block of its own, and the base
// contract appends rows, also under an id that there is already. Fabric: submissions are endorsed against the committed
// state and answered at once; the block is cut later. A key that came to be in between makes the second transaction
// void (status 11). Blocks form a chain of hashes and are kept in a file, so that a peer can be stopped and started
// again; what was not in a block then is lost.
//
// It has the faults that a client must survive, see [Fault]. It is no blockchain: one
// process, no endorsement, no consensus.
package bsnpeer
