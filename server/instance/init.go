package instance

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"stele/crypto/closed"
	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/chain"
	"stele/notary/log/batchlog"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/storage/blob/s3"
	"stele/storage/sqldb"
)

// InitRequest is what a new instance is called.
type InitRequest struct {
	Origin       string // the log's name, such as log.example.gov.cn/2026
	ChainID      string
	Organization string // whose root certificate it is
	Validator    string // this server's name among the chain's validators
	// Genesis is epoch 0 of a network that exists already, whose nodes run elsewhere; nil
	// founds a chain of one validator in this instance.
	Genesis *anchorproof.Epoch
	// Members names the organizations of the chain's validators, as far as they are known: then a
	// report says whose nodes vouch for a time.
	Members []Member
}

// Member is a validator of the chain, by its name there, and the organization that runs it.
type Member struct {
	Name         string
	Organization string
	Code         string // unified social credit code
}

// Validity of certificates: a root outlives what it issues by far, since evidence is
// checked at the time of signing for decades.
const (
	rootValidity   = 30 * 365 * 24 * time.Hour
	agencyValidity = 5 * 365 * 24 * time.Hour
	clockSlack     = 5 * time.Minute // certificates begin a little in the past
	// authorityLevels is how many authorities may stand between a root and an agency: those of regions.
	authorityLevels = 1
)

// identity ties database, object store, chain and folder together.
type identity struct {
	ID     string `json:"id"`
	Origin string `json:"origin"`
	Chain  string `json:"chain"`  // chain id
	Epoch0 string `json:"epoch0"` // SM3 of the chain's first epoch
}

// encode is the text that the object store has.
func (id identity) encode() ([]byte, error) { return json.Marshal(id) }

// file is the text that the data folder has.
func (id identity) file() ([]byte, error) {
	b, err := json.MarshalIndent(id, "", "  ")
	return append(b, '\n'), err
}

// Init creates an instance: keys and root certificate, chain, object store, database, the
// empty log. Nothing may be there. The identity file is written last: a crash before that
// leaves an instance that no start accepts, and says so; whoever made it removes it.
func Init(ctx context.Context, c Config, req InitRequest, now time.Time) error {
	if Exists(c) {
		return fmt.Errorf("there is an instance in %s already: choose another data folder", c.Data)
	}
	prepared, err := readPrepared(c)
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(c.Keys); err == nil && hasKeys(entries) && prepared == nil {
		return fmt.Errorf("the key folder %s holds keys already, perhaps of an init that did not finish: choose "+
			"another one, or remove it if you are sure that nothing was signed with them", c.Keys)
	}
	if !signednote.ValidName(req.Origin) || req.Genesis == nil && (!anchorproof.ValidChainID(req.ChainID) ||
		!signednote.ValidName(req.Validator)) {
		return errors.New("origin, chain and validator names are printable ASCII without spaces and plus signs")
	}
	if req.Genesis != nil && c.Chain == "embedded" || req.Genesis == nil && c.Chain == "nodes" {
		return errors.New("a genesis is of a network whose nodes run elsewhere: it goes with chain=nodes (or " +
			"chain=none), and chain=embedded founds a chain of its own without one")
	}
	if err := checkMembers(req); err != nil {
		return err
	}
	// What may be unreachable is tried first: a failure then leaves nothing behind.
	if err := c.probeDB(ctx); err != nil {
		return err
	}
	if _, err := c.guardClock(ctx, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	if err := closed.Folder(c.Data, func(name string) bool { return slices.Contains(beforeInit, name) }); err != nil {
		return fmt.Errorf("the data folder: %w", err)
	}
	if err := os.MkdirAll(c.Keys, 0o700); err != nil {
		return err
	}
	pass, err := c.passphrase()
	if err != nil {
		return fmt.Errorf("%w. Write a passphrase of your own into that file, or let init make one with "+
			"--new-passphrase", err)
	}
	logKey, err := keysOf(c, req, prepared, pass, now)
	if err != nil {
		return err
	}
	genesis, err := chainOf(c, req, pass, logKey.Public())
	if err != nil {
		return err
	}
	id := identity{ID: uuid.Must(uuid.NewV7()).String(), Origin: req.Origin, Chain: genesis.Chain,
		Epoch0: genesis.Hash().String()}
	list, err := c.firstList(pass, now)
	if err != nil {
		return err
	}
	if err := initStores(ctx, c, id, logKey, list); err != nil {
		return err
	}
	if err := writeTrust(c, req, genesis, logKey.Public(), now); err != nil {
		return err
	}
	text, err := id.file()
	if err != nil {
		return err
	}
	return writeFile(c.path(fileIdentity), text)
}

// beforeInit are what a folder may hold that becomes the data folder of a new instance.
var beforeInit = []string{"keys", "lost+found"}

// Exists reports whether the data folder holds an instance.
func Exists(c Config) bool {
	_, err := os.Stat(c.path(fileIdentity))
	return err == nil
}

// CreateBucket creates the S3 bucket of a configuration if it is not there.
func CreateBucket(ctx context.Context, c Config) error {
	if c.Objects != "s3" {
		return errors.New("there is a bucket to create only with objects=s3")
	}
	cfg, err := c.s3()
	if err != nil {
		return err
	}
	return s3.CreateBucket(ctx, cfg, c.S3RetentionMode != "")
}

func hasKeys(entries []fs.DirEntry) bool {
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".key" {
			return true
		}
	}
	return false
}

func (c Config) passphrase() (keystore.Secret, error) {
	return keystore.Passphrase(c.PassphraseFile, PassphraseEnv)
}

func initKeys(c Config, req InitRequest, pass keystore.Secret, now time.Time) (*sm.PrivateKey, error) {
	rootKey, err := newKey(c, fileRootKey, pass)
	if err != nil {
		return nil, err
	}
	start := now.UTC().Truncate(time.Second).Add(-clockSlack)
	root, err := pki.NewRoot(pki.RootRequest{Subject: pki.Name{Country: "CN", Organization: req.Organization,
		CommonName: req.Organization + " Root CA"},
		NotBefore: start, NotAfter: start.Add(rootValidity), Intermediates: authorityLevels}, rootKey)
	if err != nil {
		return nil, err
	}
	if err := writeFile(c.keyPath(fileRootCert), pki.EncodePEM(root)); err != nil {
		return nil, err
	}
	logKey, err := newKey(c, fileLogKey, pass)
	if err != nil {
		return nil, err
	}
	cert, err := pki.Issue(pki.IssueRequest{Profile: pki.Notary,
		Subject:   pki.Name{Country: "CN", Organization: req.Organization, CommonName: req.Origin},
		NotBefore: start, NotAfter: start.Add(rootValidity), PublicKey: logKey.Public()}, [][]byte{root}, rootKey)
	if err != nil {
		return nil, err
	}
	if _, err := newKey(c, fileWebhookKey, pass); err != nil {
		return nil, err
	}
	return logKey, writeFile(c.keyPath(fileNotaryCert), pki.EncodePEM(cert, root))
}

// loadOrMake is a key of the key folder that is made where it is not there yet; what is what messages call it. A crash
// after that leaves it for the next call.
func loadOrMake(c Config, name string, pass keystore.Secret, what string) (*sm.PrivateKey, error) {
	key, err := keystore.Load(c.keyPath(name), pass)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = newKey(c, name, pass)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return key, nil
}

func newKey(c Config, name string, pass keystore.Secret) (*sm.PrivateKey, error) {
	k, err := sm.GenerateKey()
	if err != nil {
		return nil, err
	}
	return k, keystore.Create(c.keyPath(name), k, pass)
}

func initChain(c Config, req InitRequest, pass keystore.Secret, logKey *sm.PublicKey) (anchorproof.Epoch, error) {
	cosign, err := newKey(c, fileCosignKey, pass)
	if err != nil {
		return anchorproof.Epoch{}, err
	}
	keys := map[string]ed25519.PrivateKey{}
	for _, name := range []string{fileConsensusKey, fileNodeKey} {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return anchorproof.Epoch{}, err
		}
		if err := keystore.CreateEd25519(c.keyPath(name), k, pass); err != nil {
			return anchorproof.Epoch{}, err
		}
		keys[name] = k
	}
	v := anchorproof.Validator{Name: req.Validator, Power: 1, Key: cosign.Public()}
	copy(v.ConsensusKey[:], keys[fileConsensusKey].Public().(ed25519.PublicKey))
	genesis := anchorproof.Epoch{Chain: req.ChainID, Validators: []anchorproof.Validator{v},
		Notaries: []anchorproof.Notary{{Origin: req.Origin, Key: logKey}}}
	err = chain.Init(chain.Config{Home: c.path(folderChain), Genesis: genesis, ConsensusKey: keys[fileConsensusKey],
		NodeKey: keys[fileNodeKey], Cosign: cosign.Sign, CosignKey: cosign.Public()})
	return genesis, err
}

func initStores(ctx context.Context, c Config, id identity, logKey *sm.PrivateKey,
	list *sqldb.RevocationList) error {
	objects, err := c.initObjects(ctx)
	if err != nil {
		return err
	}
	defer objects.Close()
	signer, err := signednote.NewSigner(id.Origin, logKey)
	if err != nil {
		return err
	}
	head, err := batchlog.FirstCheckpoint(signer)
	if err != nil {
		return err
	}
	text, err := id.encode()
	if err != nil {
		return err
	}
	if err := objects.PutOnce(ctx, objectIdentity, text); err != nil {
		return fmt.Errorf("the object store belongs to another instance: %w", err)
	}
	if err := objects.PutOnce(ctx, batchlog.CheckpointKey, head.Note); err != nil {
		return fmt.Errorf("the object store holds another log: %w", err)
	}
	db, err := c.openDB(ctx, true)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Log.InitInstance(ctx, sqldb.Instance{ID: id.ID, Chain: id.Epoch0}, head); err != nil || list == nil {
		return err
	}
	_, err = db.Log.RevokeCertificates(ctx, nil, *list, nil)
	return err
}

func writeTrust(c Config, req InitRequest, genesis anchorproof.Epoch, logKey *sm.PublicKey, now time.Time) error {
	root, err := c.rootCert()
	if err != nil {
		return err
	}
	key, err := signednote.NewVerifier(req.Origin, logKey)
	if err != nil {
		return err
	}
	t := &proof.Trust{Format: proof.TrustV2, Roots: []proof.TrustedRoot{{DER: root}},
		Chains: []proof.TrustedChain{{Genesis: genesis}},
		Logs: []proof.TrustedLog{{Key: key, NotBefore: now.UTC().Truncate(time.Second).Add(-clockSlack),
			Chains: []string{genesis.Chain}}}}
	if err := nameMembers(&t.Chains[0], req.Members); err != nil {
		return err
	}
	return writeFile(c.TrustPath(), append(t.Encode(), '\n'))
}

// checkMembers finds out before anything is made what [nameMembers] would refuse.
func checkMembers(req InitRequest) error {
	var c proof.TrustedChain
	if req.Genesis != nil {
		c.Genesis = *req.Genesis
		return nameMembers(&c, req.Members)
	}
	key, err := sm.GenerateKey()
	if err != nil {
		return err
	}
	c.Genesis.Validators = []anchorproof.Validator{{Name: req.Validator, Key: key.Public()}}
	return nameMembers(&c, req.Members)
}

// nameMembers enters the organizations of validators of the first epoch.
func nameMembers(c *proof.TrustedChain, members []Member) error {
	for _, m := range members {
		i := slices.IndexFunc(c.Genesis.Validators, func(v anchorproof.Validator) bool { return v.Name == m.Name })
		if i < 0 {
			return fmt.Errorf("the chain's first epoch has no validator %q", m.Name)
		}
		named := proof.TrustedMember{Key: c.Genesis.Validators[i].Key, Organization: m.Organization, Code: m.Code}
		if err := c.AddMember(named); err != nil {
			return fmt.Errorf("validator %q: %w", m.Name, err)
		}
	}
	return nil
}

func (c Config) rootKey(pass keystore.Secret) (*sm.PrivateKey, error) {
	key, err := keystore.Load(c.keyPath(fileRootKey), pass)
	if err != nil {
		return nil, fmt.Errorf("the root key is needed to issue a certificate: %w", err)
	}
	return key, nil
}

func (c Config) rootCert() ([]byte, error) {
	certs, err := readCertificates(c.keyPath(fileRootCert), 1)
	if err != nil {
		return nil, err
	}
	return certs[0], nil
}

// readCertificates reads a file of exactly so many certificates. The error wraps [fs.ErrNotExist] where there is none.
func readCertificates(path string, n int) ([][]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	certs, err := pki.DecodePEM(text, n)
	if err != nil || len(certs) != n {
		return nil, errors.Join(fmt.Errorf("%s: %d certificates are expected", path, n), err)
	}
	return certs, nil
}

// writeFile writes a new file durably: a file that is there is never replaced.
func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// replaceFile puts a file in the place of one that may be there, whole or not at all.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes names in a folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
