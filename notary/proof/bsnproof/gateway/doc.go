// Package gateway holds the protocol of a BSN public city node's gateway: keys and macs, the
// string that a mac is over, and the messages of Fabric and FISCO BCOS applications. The evidence formats
// (package bsnproof), the client (anchor/bsn) and the peer for tests and demos stand on it.
//
// The protocol is that of BSN's manual, chapters 5-4-3 (Fabric) and 5-4-4 (FISCO BCOS), and of its published SDKs.
// A message has a header, a mac and a body. The mac is a signature over the header's values
// and the body's values one after the other, in the order of the manual's tables, without
// separators: so where one value ends and the next begins is not protected, and whoever
// reads an answer must not let that decide anything.
//
// The package is pure, does no I/O and is safe for concurrent use; it is built for browsers.
package gateway
