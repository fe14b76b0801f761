package gateway

import (
	"errors"
	"math/big"
)

// curve is one of the two ECDSA curves, y² = x³ + ax + b over the integers modulo p, for
// verification alone: all values are public, so time may depend on them. The libraries that
// sign would add half a megabyte to what a browser loads. A test compares them.
type curve struct {
	p, n, half, a, b *big.Int // half is half of the order n, rounded down
	g                point
}

// The curves, SEC 2 sections 2.4.1 and 2.4.2.
var (
	k1 = newCurve("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
		"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", "0", "7",
		"79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
		"483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")
	r1 = newCurve("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
		"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
		"ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
		"5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
		"6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
		"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
)

func newCurve(p, n, a, b, x, y string) *curve {
	number := func(hex string) *big.Int {
		i, ok := new(big.Int).SetString(hex, 16)
		if !ok {
			panic("gateway: a constant is no number")
		}
		return i
	}
	c := &curve{p: number(p), n: number(n), a: number(a), b: number(b), g: point{number(x), number(y), big.NewInt(1)}}
	c.half = new(big.Int).Rsh(c.n, 1)
	return c
}

// point is in Jacobian coordinates; z is 0 at infinity.
type point struct{ x, y, z *big.Int }

// parse reads an uncompressed point of 65 bytes and checks that it is on the curve.
func (c *curve) parse(raw []byte) (*point, error) {
	p := &point{new(big.Int).SetBytes(raw[1:33]), new(big.Int).SetBytes(raw[33:]), big.NewInt(1)}
	right := c.add3(c.mul(p.x, c.mul(p.x, p.x)), c.mul(c.a, p.x), c.b)
	if p.x.Cmp(c.p) >= 0 || p.y.Cmp(c.p) >= 0 || c.mul(p.y, p.y).Cmp(right) != 0 {
		return nil, errors.New("the point is not on the curve")
	}
	return p, nil
}

func (c *curve) mod(a *big.Int) *big.Int            { return a.Mod(a, c.p) }
func (c *curve) mul(a, b *big.Int) *big.Int         { return c.mod(new(big.Int).Mul(a, b)) }
func (c *curve) sub(a, b *big.Int) *big.Int         { return c.mod(new(big.Int).Sub(a, b)) }
func (c *curve) times(k int64, a *big.Int) *big.Int { return c.mul(big.NewInt(k), a) }
func (c *curve) add3(x, y, z *big.Int) *big.Int {
	s := new(big.Int).Add(x, y)
	return c.mod(s.Add(s, z))
}

// double is 2p ("dbl-1998-cmo-2" of the Explicit-Formulas Database).
func (c *curve) double(p point) point {
	yy, zz := c.mul(p.y, p.y), c.mul(p.z, p.z)
	s := c.times(4, c.mul(p.x, yy))
	m := c.add3(c.times(3, c.mul(p.x, p.x)), c.mul(c.a, c.mul(zz, zz)), new(big.Int))
	x := c.sub(c.mul(m, m), c.times(2, s))
	return point{x, c.sub(c.mul(m, c.sub(s, x)), c.times(8, c.mul(yy, yy))), c.times(2, c.mul(p.y, p.z))}
}

// plus is p+q ("add-1998-cmo-2" of the same).
func (c *curve) plus(p, q point) point {
	if p.z.Sign() == 0 {
		return q
	}
	if q.z.Sign() == 0 {
		return p
	}
	pz, qz := c.mul(p.z, p.z), c.mul(q.z, q.z)
	u, s := c.mul(p.x, qz), c.mul(p.y, c.mul(q.z, qz))
	h, r := c.sub(c.mul(q.x, pz), u), c.sub(c.mul(q.y, c.mul(p.z, pz)), s)
	if h.Sign() == 0 && r.Sign() == 0 {
		return c.double(p)
	}
	hh := c.mul(h, h) // h is 0 where q is -p: then z becomes 0, infinity
	hhh, v := c.mul(h, hh), c.mul(u, hh)
	x := c.sub(c.sub(c.mul(r, r), hhh), c.times(2, v))
	return point{x, c.sub(c.mul(r, c.sub(v, x)), c.mul(s, hhh)), c.mul(h, c.mul(p.z, q.z))}
}

// verify checks an ECDSA signature over a digest (SEC 1 section 4.1.4) with the smaller s.
func (c *curve) verify(key point, digest []byte, sig derSignature) bool {
	if sig.R.Sign() <= 0 || sig.S.Sign() <= 0 || sig.R.Cmp(c.n) >= 0 || sig.S.Cmp(c.half) > 0 {
		return false
	}
	w := new(big.Int).ModInverse(sig.S, c.n)
	u1 := new(big.Int).Mul(new(big.Int).SetBytes(digest), w)
	u2 := new(big.Int).Mul(sig.R, w)
	u1.Mod(u1, c.n)
	u2.Mod(u2, c.n)
	both := c.plus(c.g, key)
	sum := point{big.NewInt(1), big.NewInt(1), new(big.Int)}
	for i := max(u1.BitLen(), u2.BitLen()) - 1; i >= 0; i-- {
		sum = c.double(sum)
		switch {
		case u1.Bit(i) == 1 && u2.Bit(i) == 1:
			sum = c.plus(sum, both)
		case u1.Bit(i) == 1:
			sum = c.plus(sum, c.g)
		case u2.Bit(i) == 1:
			sum = c.plus(sum, key)
		}
	}
	if sum.z.Sign() == 0 {
		return false
	}
	x := c.mul(sum.x, new(big.Int).ModInverse(c.mul(sum.z, sum.z), c.p))
	return x.Mod(x, c.n).Cmp(sig.R) == 0
}
