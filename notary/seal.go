package notary

import "time"

// Seal is the picture of an agency's seal as its certificates show it from a time on, until
// the next one. A picture proves nothing, whoever made it: the agency's signature does.
type Seal struct {
	AgencyID      string
	PNG           []byte // as certificate.NormalizeSeal returns it; empty: from here on none
	Demonstration bool   // made without the key of a licensed certification authority
	From          time.Time
}
