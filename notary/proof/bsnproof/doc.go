// Package bsnproof holds the evidence that a checkpoint was anchored on an application behind
// a BSN gateway, and its verification.
//
// The evidence is the gateway's own signed answers. It is attested, not self-proving: who
// accepts it believes the holder of the gateway's key, and that this key signs nothing for
// others that reads like these answers (the strings under macs have no separators, see
// package gateway). Nothing in it was signed by the nodes of the chain.
//
// The log's checkpoints are entries of the application's base chaincode, whose set creates a
// key once and never again. The keys of a log are numbered without gaps ([Key]), so the
// entries are a list that only grows: two servers cannot write two entries under one number,
// and whoever reads it finds the newest. The base contract of FISCO BCOS appends rows instead:
// there the first row of a number is the entry.
//
// The package is pure and safe for concurrent use; it is built for browsers.
package bsnproof
