// Package notary is what it means to notarize: records, agencies, their states and
// numbers, and the errors that callers tell apart. It knows no SQL, no S3 and no HTTP;
// the packages below it do the work, adapters in storage and server connect them.
package notary
