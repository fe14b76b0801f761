package exhibit

import (
	"fmt"
	"slices"
	"strconv"

	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
)

// Picture draws the way from the document, at the bottom, over the agency's statement, the
// leaf and the nodes beside its path to the log's checkpoint, the block that holds it, and the
// cities that cosigned, as an SVG element: well-formed XML without styles, scripts, addresses
// or ids, 360 units wide, so that a phone shows its letters in their natural size. Its title
// and description say the same in words.
//
// Every step of the report is a link with a mark: whole with a tick where it passed, broken
// with a cross where it failed, dashed where it was not checked. Colours only repeat that.
func Picture(r *proof.Report, x *Exhibit, words Words) string { return newDrawing(r, x, words).svg() }

// Places in the drawing, in its units, which are pixels on a phone.
const (
	width     = 360
	middle    = width / 2
	margin    = 12
	boxHeight = 48
	linkRise  = 44 // from one box to the next, with the mark on it
	levelRise = 40 // from a node to the one above it
	sideways  = 84 // of a sibling from the path
	trunk     = 26 // of the line that leads to several blocks
)

// How many of each are drawn; the list below the picture has all.
const (
	shownLevels  = 7 // a longer path is folded
	lowestLevels = 3 // of those drawn when it is
	upperLevels  = 2
	shownAnchors = 3
)

// drawing is a report and its exhibit in the form in which they are drawn and told.
type drawing struct {
	words   Words
	report  *proof.Report
	own     *Section
	anchors []anchored

	canvas canvas
	y      int // top of what is drawn already
}

// anchored is one anchor of the report, with its validators where it holds.
type anchored struct {
	status     proof.Status
	report     *proof.AnchorReport // nil where it was not checked
	evidence   *Anchor             // nil where it was not taken apart
	validators []validator
}

// validator is a city node and whether it cosigned.
type validator struct {
	name   string
	signed bool
}

func newDrawing(r *proof.Report, x *Exhibit, words Words) *drawing {
	d := &drawing{words: words, report: r, own: x.Sections[0]}
	held := 0 // anchors that hold are reported in the order of their steps
	for _, s := range r.Steps {
		if s.Name != proof.StepAnchor || s.Status == proof.Skipped {
			continue
		}
		a := anchored{status: s.Status}
		if s.Status == proof.Passed && held < len(r.Anchors) {
			a.report = &r.Anchors[held]
			held++
			if i := slices.IndexFunc(d.own.Anchors,
				func(o Anchor) bool { return o.Evidence.Header.Chain == a.report.Chain }); i >= 0 {
				a.evidence = &d.own.Anchors[i]
			}
			a.validators = a.members()
		}
		d.anchors = append(d.anchors, a)
	}
	return d
}

// members are the validators of the epoch that cosigned, or those that did where the epochs
// were too many to take apart.
func (a *anchored) members() []validator {
	var out []validator
	if a.evidence == nil {
		for _, name := range a.report.Cosigners {
			out = append(out, validator{name, true})
		}
		return out
	}
	for i, v := range a.evidence.Epochs[len(a.evidence.Epochs)-1].Validators {
		signed := slices.ContainsFunc(a.evidence.Evidence.Cosignatures, func(c anchorproof.Cosignature) bool {
			return c.Validator == i
		})
		out = append(out, validator{v.Name, signed})
	}
	return out
}

func (a *anchored) names(signed bool) []string {
	var out []string
	for _, v := range a.validators {
		if v.signed == signed {
			out = append(out, v.name)
		}
	}
	return out
}

// status is how the worst of some steps ended.
func (d *drawing) status(names ...proof.StepName) proof.Status {
	order := []proof.Status{proof.Failed, proof.NotChecked, proof.Skipped, proof.Passed}
	worst := proof.Passed
	for _, n := range names {
		found := proof.Skipped
		if i := slices.IndexFunc(d.report.Steps, func(s proof.Step) bool { return s.Name == n }); i >= 0 {
			found = d.report.Steps[i].Status
		}
		if slices.Index(order, found) < slices.Index(order, worst) {
			worst = found
		}
	}
	return worst
}

// svg draws from the document up: y counts upward from it, and the canvas turns it round.
func (d *drawing) svg() string {
	d.canvas, d.y = canvas{}, margin
	d.document()
	d.statement()
	d.path()
	d.checkpoint()
	d.blocks()
	return d.canvas.element(d.y+margin, d.words("picture.title"), d.description())
}

func (d *drawing) document() {
	c := &d.canvas
	w := d.words
	status := d.status(proof.StepDocument)
	label := w("picture.document")
	if status == proof.NotChecked || status == proof.Skipped {
		label = w("picture.document_absent")
	}
	sm3 := d.own.Statement.Document.SM3.String()
	if i := slices.IndexFunc(d.report.Steps, func(s proof.Step) bool {
		return s.Name == proof.StepDocument && len(s.Compared) == 2
	}); i >= 0 {
		sm3 = d.report.Steps[i].Compared[0].Value // the file's own
	}
	c.open(status, d.named(label, sm3))
	c.sheet(middle-100, d.y, 200, boxHeight)
	c.text(middle, d.y+28, "pp-strong", "middle", label, 184)
	c.text(middle, d.y+11, "pp-mono", "middle", "SM3 "+short(sm3), 184)
	c.close()
	d.y += boxHeight
	d.link(status, w("picture.link_document"))
}

// statement is what the agency signed; a later withdrawal or replacement is told with it.
func (d *drawing) statement() {
	c := &d.canvas
	w := d.words
	height, later := boxHeight, ""
	if s := d.report.Standing; s != nil && d.status(proof.StepStanding) == proof.Passed {
		switch proof.Verdict(s.State) {
		case proof.Revoked:
			later = w("picture.later_revoked")
		case proof.Superseded:
			later = w("picture.later_superseded")
		}
	}
	if later != "" {
		height += 22
	}
	agency := ""
	if d.report.Agency != nil {
		agency = d.report.Agency.Name
	}
	status := d.status(proof.StepStatement, proof.StepCertificate)
	c.open(status, d.named(w("picture.statement"), agency))
	c.box(margin, d.y, width-2*margin, height)
	if later != "" {
		c.cross(margin+18, d.y+15, 5)
		c.text(margin+32, d.y+11, "pp-strong", "start", later, width-2*margin-44)
	}
	c.text(middle, d.y+height-20, "pp-strong", "middle", w("picture.statement"), width-2*margin-16)
	c.text(middle, d.y+height-39, "", "middle", agency, width-2*margin-16)
	c.close()
	d.y += height
	d.link(status, w("picture.link_statement"))
}

// path is the leaf and the nodes beside its way up to the root.
func (d *drawing) path() {
	c := &d.canvas
	path := d.own.Path
	status := d.status(proof.StepInclusion)
	folded := len(path) > shownLevels
	d.y += 8
	d.leaf(status, len(path) > 0 && path[0].Left)
	for i, p := range path {
		if folded && i >= lowestLevels && i < len(path)-upperLevels {
			if i == lowestLevels {
				hidden := len(path) - lowestLevels - upperLevels
				c.open(status, d.words("picture.folded", "n", strconv.Itoa(hidden)))
				c.dots(middle, d.y, d.y+levelRise)
				c.text(middle+20, d.y+levelRise/2-5, "pp-soft", "start",
					d.words("picture.folded", "n", strconv.Itoa(hidden)), middle-margin-20)
				c.close()
				d.y += levelRise
			}
			continue
		}
		d.level(status, i, p)
	}
	d.y += 7
	d.link(status, d.words("picture.link_inclusion"))
}

func (d *drawing) leaf(status proof.Status, siblingLeft bool) {
	c := &d.canvas
	label, index := d.words("picture.leaf"), d.words("picture.leaf_index", "index", strconv.FormatUint(d.own.Index, 10))
	c.open(status, d.named(label+" "+index, d.own.Leaf.String()))
	c.square(middle, d.y, 8, "pp-full")
	x, anchor := middle-18, "end"
	if siblingLeft {
		x, anchor = middle+18, "start"
	}
	c.text(x, d.y+1, "pp-strong", anchor, label, middle-margin-18)
	c.text(x, d.y-15, "pp-mono", anchor, index, middle-margin-18)
	c.close()
}

// level is a node beside the path and the one that the two make above them.
func (d *drawing) level(status proof.Status, i int, p Sibling) {
	c := &d.canvas
	x, anchor, at, key := middle+sideways, "start", middle+sideways+14, "picture.right"
	if p.Left {
		x, anchor, at, key = middle-sideways, "end", middle-sideways-14, "picture.left"
	}
	n := strconv.Itoa(i + 1)
	c.open(status, d.named(d.words("picture.node", "n", n), p.Node.String()))
	c.line(middle, d.y+8, middle, d.y+levelRise-7)
	c.circle(middle, d.y+levelRise, 7, "pp-full")
	c.close()
	c.open(status, d.named(d.words(key, "n", n), p.Hash.String()))
	c.line(x, d.y+7, middle, d.y+levelRise)
	c.square(x, d.y, 7, "")
	c.text(at, d.y-4, "pp-mono", anchor, short(p.Hash.String()), width)
	c.close()
	d.y += levelRise
}

func (d *drawing) checkpoint() {
	c := &d.canvas
	w := d.words
	status := d.status(proof.StepCheckpoint)
	c.open(status, d.named(w("picture.checkpoint"), d.own.Checkpoint.Root.String()))
	c.box(margin, d.y, width-2*margin, boxHeight)
	c.text(middle, d.y+28, "pp-strong", "middle", w("picture.checkpoint"), width-2*margin-80)
	c.text(middle, d.y+11, "", "middle", w("picture.checkpoint_size", "size", strconv.FormatUint(d.own.Size, 10)),
		width-2*margin-80)
	c.mark(width-margin-24, d.y+boxHeight/2, status)
	c.close()
	d.y += boxHeight
}

// blocks are the anchors: one above the checkpoint, or several on a line beside them.
func (d *drawing) blocks() {
	w := d.words
	switch {
	case len(d.anchors) == 0:
		d.link(proof.NotChecked, w("picture.not_anchored"))
		d.emptyBlock(margin, proof.NotChecked, w("picture.not_anchored"))
	case len(d.anchors) == 1:
		d.link(d.anchors[0].status, w("picture.link_anchor"))
		d.block(margin, &d.anchors[0])
	default:
		from := d.y
		for i := range d.anchors {
			if i == shownAnchors {
				d.y += 24
				d.canvas.text(middle, d.y, "pp-soft", "middle",
					w("picture.more_anchors", "n", strconv.Itoa(len(d.anchors)-i)), width-2*margin)
				break
			}
			d.y += linkRise
			a := &d.anchors[i]
			d.canvas.open(a.status, d.named(w("picture.link_anchor"), d.statusWord(a.status)))
			d.canvas.line(trunk, from, trunk, d.y+boxHeight/2)
			d.canvas.line(trunk, d.y+boxHeight/2, 2*trunk, d.y+boxHeight/2)
			d.canvas.mark(trunk, d.y+boxHeight/2, a.status)
			d.canvas.close()
			from = d.y + boxHeight/2 + 10
			d.block(2*trunk, a)
		}
	}
}

func (d *drawing) emptyBlock(left int, status proof.Status, label string) {
	c := &d.canvas
	c.open(status, label)
	c.box(left, d.y, width-left-margin, boxHeight)
	c.text((left+width-margin)/2, d.y+19, "pp-strong", "middle", label, width-left-margin-16)
	c.close()
	d.y += boxHeight
}

func (d *drawing) block(left int, a *anchored) {
	w := d.words
	if a.report == nil {
		label := w("picture.anchor_open")
		if a.status == proof.Failed {
			label = w("picture.anchor_failed")
		}
		d.emptyBlock(left, a.status, label)
		return
	}
	c := &d.canvas
	r := a.report
	centre := (left + width - margin) / 2
	label := w("picture.block", "height", strconv.FormatUint(r.Height, 10))
	if r.Strength == proof.Attested { // no number of a block is a fact there
		label = w("picture.application")
	}
	c.open(a.status, d.named(label, r.Chain+" "+r.Time))
	c.box(left, d.y, width-left-margin, boxHeight)
	c.text(centre, d.y+28, "pp-strong", "middle", label, width-left-margin-16)
	c.text(centre, d.y+11, "pp-mono", "middle", r.Chain, width-left-margin-16)
	c.close()
	d.y += boxHeight
	if r.Strength == proof.Attested { // nobody cosigned what a gateway says
		d.y += 18
		c.text(centre, d.y, "pp-soft", "middle", w("picture.attested", "gateway", r.Gateway), width-left-margin)
		d.y += 18
		return
	}
	d.cities(left, a)
}

// link joins what was drawn last with what comes next and says how the step between ended.
func (d *drawing) link(status proof.Status, what string) {
	c := &d.canvas
	c.open(status, d.named(what, d.statusWord(status)))
	if status == proof.Failed { // the mark beside it, so that the break is seen
		c.broken(middle, d.y, d.y+linkRise)
		c.mark(middle+34, d.y+linkRise/2, status)
	} else {
		c.line(middle, d.y, middle, d.y+linkRise)
		c.mark(middle, d.y+linkRise/2, status)
	}
	c.close()
	d.y += linkRise
}

func (d *drawing) statusWord(s proof.Status) string {
	switch s {
	case proof.Passed:
		return d.words("picture.passed")
	case proof.Failed:
		return d.words("picture.failed")
	}
	return d.words("picture.open")
}

// named is what a group's title says.
func (d *drawing) named(what, value string) string {
	return d.words("picture.named", "what", what, "value", value)
}

// short is how a digest is told apart by eye.
func short(hex string) string {
	if len(hex) <= 12 {
		return hex
	}
	return fmt.Sprintf("%s…", hex[:8])
}
