package gateway

import (
	"errors"
	"math/big"
)

// secp256k1 (SEC 2 section 2.4.1), for verification alone: all values are public, so time may
// depend on them. The library that signs brings tables of half a megabyte, which a browser
// would have to load for a curve that it hardly ever meets. A test compares the two.
var (
	k1P, _ = new(big.Int).SetString("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f", 16)
	k1N, _ = new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	k1G    = k1Affine("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")
	k1Half = new(big.Int).Rsh(k1N, 1)
)

// k1Point is a point in Jacobian coordinates; z is 0 at infinity.
type k1Point struct{ x, y, z *big.Int }

func k1Affine(x, y string) k1Point {
	p := k1Point{z: big.NewInt(1)}
	p.x, _ = new(big.Int).SetString(x, 16)
	p.y, _ = new(big.Int).SetString(y, 16)
	return p
}

// parseK1 reads an uncompressed point of 65 bytes and checks that it is on the curve.
func parseK1(point []byte) (*k1Point, error) {
	p := &k1Point{new(big.Int).SetBytes(point[1:33]), new(big.Int).SetBytes(point[33:]), big.NewInt(1)}
	if p.x.Cmp(k1P) >= 0 || p.y.Cmp(k1P) >= 0 || mul(p.y, p.y).Cmp(mod(new(big.Int).Add(mul(p.x, mul(p.x, p.x)), big.NewInt(7)))) != 0 {
		return nil, errors.New("the point is not on the curve")
	}
	return p, nil
}

func mod(a *big.Int) *big.Int    { return a.Mod(a, k1P) }
func mul(a, b *big.Int) *big.Int { return mod(new(big.Int).Mul(a, b)) }
func sub(a, b *big.Int) *big.Int { return mod(new(big.Int).Sub(a, b)) }
func times(k int64, a *big.Int) *big.Int {
	return mul(big.NewInt(k), a)
}

// double is 2p ("dbl-2009-l" of the Explicit-Formulas Database, a = 0).
func (p k1Point) double() k1Point {
	a, b := mul(p.x, p.x), mul(p.y, p.y)
	c := mul(b, b)
	xb := new(big.Int).Add(p.x, b)
	d := times(2, sub(sub(mul(xb, xb), a), c))
	e := times(3, a)
	x := sub(mul(e, e), times(2, d))
	return k1Point{x, sub(mul(e, sub(d, x)), times(8, c)), times(2, mul(p.y, p.z))}
}

// add is p+q ("add-1998-cmo-2" of the same).
func (p k1Point) add(q k1Point) k1Point {
	if p.z.Sign() == 0 {
		return q
	}
	if q.z.Sign() == 0 {
		return p
	}
	pz, qz := mul(p.z, p.z), mul(q.z, q.z)
	u, s := mul(p.x, qz), mul(p.y, mul(q.z, qz))
	h, r := sub(mul(q.x, pz), u), sub(mul(q.y, mul(p.z, pz)), s)
	if h.Sign() == 0 && r.Sign() == 0 {
		return p.double()
	}
	hh := mul(h, h) // h is 0 where q is -p: then z becomes 0, infinity
	hhh, v := mul(h, hh), mul(u, hh)
	x := sub(sub(mul(r, r), hhh), times(2, v))
	return k1Point{x, sub(mul(r, sub(v, x)), mul(s, hhh)), mul(h, mul(p.z, q.z))}
}

// verify checks an ECDSA signature over a digest (SEC 1 section 4.1.4) with the smaller s.
func (p *k1Point) verify(digest []byte, sig derSignature) bool {
	if sig.R.Sign() <= 0 || sig.S.Sign() <= 0 || sig.R.Cmp(k1N) >= 0 || sig.S.Cmp(k1Half) > 0 {
		return false
	}
	w := new(big.Int).ModInverse(sig.S, k1N)
	u1 := new(big.Int).Mul(new(big.Int).SetBytes(digest), w)
	u2 := new(big.Int).Mul(sig.R, w)
	u1.Mod(u1, k1N)
	u2.Mod(u2, k1N)
	both := k1G.add(*p)
	sum := k1Point{big.NewInt(1), big.NewInt(1), new(big.Int)}
	for i := max(u1.BitLen(), u2.BitLen()) - 1; i >= 0; i-- {
		sum = sum.double()
		switch {
		case u1.Bit(i) == 1 && u2.Bit(i) == 1:
			sum = sum.add(both)
		case u1.Bit(i) == 1:
			sum = sum.add(k1G)
		case u2.Bit(i) == 1:
			sum = sum.add(*p)
		}
	}
	if sum.z.Sign() == 0 {
		return false
	}
	zz := new(big.Int).ModInverse(mul(sum.z, sum.z), k1P)
	x := mul(sum.x, zz)
	return x.Mod(x, k1N).Cmp(sig.R) == 0
}
