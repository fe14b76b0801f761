package caller

import (
	"errors"
	"strings"
)

var errForwarded = errors.New("not the form of RFC 7239")

// forwardedHops reads Forwarded from its end. Each line is read for itself, and only if the
// list has come that far: a quote that a client left open in its own line must not swallow what
// the proxy wrote in the next.
func forwardedHops(lines []string) func() (hop, error) {
	var elements []hop
	i := len(lines)
	return func() (hop, error) {
		if len(elements) == 0 {
			if i--; i < 0 {
				return hop{}, errNoMore
			}
			var err error
			if elements, err = parseForwarded(lines[i]); err != nil {
				return hop{}, err
			}
		}
		last := elements[len(elements)-1]
		elements = elements[:len(elements)-1]
		return last, nil
	}
}

// parseForwarded reads one line of the header: elements with commas between them, each with one
// for= (RFC 7239, section 4). Names count without case, and none may occur twice in an element.
// An identifier that hides the address, or a wrong one, is a hop that is not ok: it matters only
// where an address is needed. There is at least one element if the error is nil.
func parseForwarded(line string) ([]hop, error) {
	var all []hop
	s := line
	for {
		h, rest, err := parseElement(strings.TrimLeft(s, " \t"))
		if err != nil {
			return nil, err
		}
		all = append(all, h)
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" {
			return all, nil
		}
		if rest[0] != ',' {
			return nil, errForwarded
		}
		s = rest[1:]
	}
}

// parseElement reads pairs with semicolons between them and returns what comes after the last.
func parseElement(s string) (h hop, rest string, err error) {
	seen := map[string]bool{}
	for {
		name, after := cutToken(s)
		name = strings.ToLower(name)
		if name == "" || seen[name] || !strings.HasPrefix(after, "=") {
			return hop{}, "", errForwarded
		}
		seen[name] = true
		value, after, quoted, ok := cutValue(after[1:])
		if !ok {
			return hop{}, "", errForwarded
		}
		if name == "for" {
			h = forwardedNode(value, quoted)
		}
		if !strings.HasPrefix(after, ";") {
			if !seen["for"] {
				return hop{}, "", errForwarded
			}
			return h, after, nil
		}
		s = after[1:]
	}
}

// forwardedNode reads a node (section 6): IPv6 stands in brackets there, and only a quoted
// string can hold brackets or a port.
func forwardedNode(value string, quoted bool) hop {
	if strings.HasPrefix(value, "[") != (strings.Count(value, ":") > 1) || !quoted && strings.Contains(value, ":") {
		return hop{}
	}
	node := value
	if name, port, ok := strings.Cut(value[strings.LastIndexByte(value, ']')+1:], ":"); ok && obfuscated(port) {
		node = value[:strings.LastIndexByte(value, ']')+1] + name
	}
	addr, ok := parseNode(node)
	return hop{addr, ok}
}

// obfuscated is whether a port hides itself: an underscore and more.
func obfuscated(port string) bool {
	name, rest := cutToken(port)
	return len(name) > 1 && name[0] == '_' && rest == ""
}

// cutToken splits off a token (RFC 9110, section 5.6.2), which is empty if none is there.
func cutToken(s string) (token, rest string) {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte("!#$%&'*+-.^_`|~",
				c) >= 0) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// cutValue splits off a token or a quoted string (RFC 9110, section 5.6.4) and undoes its quoting.
func cutValue(s string) (value, rest string, quoted, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, rest, false, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			return b.String(), s[i+1:], true, true
		case c == '\\':
			if i++; i == len(s) {
				return "", "", true, false
			}
			c = s[i]
			fallthrough
		default:
			if c < ' ' && c != '\t' || c == 0x7f {
				return "", "", true, false
			}
			b.WriteByte(c)
		}
	}
	return "", "", true, false
}
