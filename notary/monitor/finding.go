package monitor

import (
	"encoding/hex"
	"strings"
	"time"

	"stele/crypto/sm"
)

// Codes of findings. They are stable.
const (
	SplitView     = "split_view"     // two signed notes of one log that contradict each other
	WentBack      = "went_back"      // the log shows fewer entries than it had signed
	NotConsistent = "not_consistent" // a checkpoint did not grow out of the one before
	BadSignature  = "bad_signature"  // something is not signed by the log's key
	BadAnchor     = "bad_anchor"     // no chain that is trusted vouches for the log's status
	Stale         = "stale"          // nobody has vouched for it for too long
	StatusDiffers = "status_differs" // a signed status does not follow from the entries before it
	// ForgedRevocation: an entry revokes a certificate, and no root that is trusted has signed it.
	ForgedRevocation = "forged_revocation"
	TallyDiffers     = "tally_differs" // the entries in an agency's name are not those that the log has proved
	UnknownEntry     = "unknown_entry" // an entry in the agency's name that its own list lacks
)

// Finding is something that must not be. Its Name is that of its file.
type Finding struct {
	Name     string            `json:"name"`
	Code     string            `json:"code"`
	Detail   string            `json:"detail"` // one or two English sentences
	Log      string            `json:"log,omitempty"`
	Index    *uint64           `json:"index,omitempty"`  // of the entry that it is about
	Number   string            `json:"number,omitempty"` // of the record
	FoundAt  time.Time         `json:"foundAt"`
	Evidence map[string]string `json:"evidence,omitempty"` // what anybody can check: signed notes, statements
	Told     []string          `json:"told,omitempty"`     // by which ways it was said

	Subject string `json:"-"` // what makes it another finding than one with the same code
}

// find keeps a finding, unless the folder has it. A crash before anybody was told leaves it to be told.
func (m *Monitor) find(f Finding) error {
	d := sm.Sum([]byte(f.Code), []byte{0}, []byte(f.Subject))
	f.Name = strings.ReplaceAll(f.Code, "_", "-") + "-" + hex.EncodeToString(d[:8])
	f.Log, f.FoundAt = m.state.Origin, m.Now().UTC()
	return m.Folder.add(f)
}

// sentence begins a text with a capital letter.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
