package webhook

import (
	"slices"
	"strings"
	"time"

	"stele/notary"
)

// Endpoint is where an agency wants its events, and which.
type Endpoint struct {
	ID        string
	AgencyID  string
	Settings  Settings
	Secret    []byte    // sealed
	OldSecret []byte    // sealed; nil when there is none
	OldUntil  time.Time // until when the old one signs too
	Next      Cursor    // the first event that no delivery was made of yet
	Health    Health
	CreatedAt time.Time
}

// Settings are what an agency chooses.
type Settings struct {
	URL     string
	Kinds   []Kind   // sorted; never empty
	Classes []string // sorted; none: all
	Form    Form
}

// Limits of an endpoint's settings.
const (
	MaxEndpoints = 50 // of one agency
	maxClasses   = 100
	maxFields    = 60 // as many as a record can have
	maxName      = 64 // bytes of a class or an attribute
)

// check brings settings into their one form, or says what is wrong with them.
func (s *Settings) check(p Policy) error {
	if err := p.CheckURL(s.URL); err != nil {
		return err
	}
	if len(s.Kinds) == 0 {
		s.Kinds = Kinds
	}
	if err := CheckKinds("events", s.Kinds); err != nil {
		return err
	}
	if err := checkNames("classes", s.Classes, maxClasses); err != nil {
		return err
	}
	if err := checkNames("fields", s.Form.Fields, maxFields); err != nil {
		return err
	}
	if s.Form.Thin && len(s.Form.Fields) > 0 {
		return notary.InvalidField("fields", "A thin payload has no attributes.")
	}
	s.Kinds, s.Classes, s.Form.Fields = sorted(s.Kinds), sorted(s.Classes), sorted(s.Form.Fields)
	return nil
}

// CheckKinds refuses what is no event; field is where it was named.
func CheckKinds(field string, kinds []Kind) error {
	for _, k := range kinds {
		if !slices.Contains(Kinds, k) {
			return notary.InvalidField(field, "There is no such event; the events are %s.", joinKinds(", "))
		}
	}
	return nil
}

func joinKinds(sep string) string {
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		names[i] = string(k)
	}
	return strings.Join(names, sep)
}

// checkNames demands names that can be kept as one text with spaces between them.
func checkNames(field string, names []string, most int) error {
	if len(names) > most {
		return notary.InvalidField(field, "At most %d names can be given.", most)
	}
	for _, n := range names {
		if n == "" || len(n) > maxName || strings.ContainsFunc(n, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return notary.InvalidField(field, "A name has 1 to %d printable ASCII characters without spaces.", maxName)
		}
	}
	return nil
}

func sorted[T ~string](l []T) []T {
	out := slices.Clone(l)
	slices.Sort(out)
	return slices.Compact(out)
}

// DeliveryStatus is how far a delivery has come.
type DeliveryStatus string

// The statuses.
const (
	Pending   DeliveryStatus = "pending"
	Done      DeliveryStatus = "delivered"
	Abandoned DeliveryStatus = "failed" // given up; it can be replayed
)

// Delivery is one event on its way to one endpoint.
type Delivery struct {
	EndpointID string
	Event      Event // in lists only id, kind, time, and of the record its id and number
	Status     DeliveryStatus
	Attempts   int // so far in this round; a replay begins a new one
	DueAt      time.Time
	CreatedAt  time.Time
	FinishedAt time.Time
	History    []Attempt // oldest first, where asked for
}

// Attempt is one request and what came of it.
type Attempt struct {
	At     time.Time
	Took   time.Duration
	Status int    // of HTTP; 0 when there was no answer
	Answer []byte // the beginning of its body
	Error  string // why there was no answer, for people
}

// MaxAnswer is how many bytes of an answer are read and kept.
const MaxAnswer = 4 << 10
