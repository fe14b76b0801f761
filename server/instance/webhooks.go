package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/seal"
	"stele/crypto/sm"
	"stele/notary/office/webhook"
	"stele/server/remote/deliver"
)

// sealPurpose separates the key that seals webhooks' secrets from others of the same source.
const sealPurpose = "stele/webhook-secrets/v1"

// fanOutPace is the least time between two looks at what is new: a flood of records costs a
// few questions a second, and an event is this much later at most.
const fanOutPace = 200 * time.Millisecond

// webhooks are an instance's endpoints and their dispatcher.
type webhooks struct {
	endpoints  *webhook.Endpoints
	dispatcher *webhook.Dispatcher
	sender     *deliver.Sender
	// private signs, and others are derived from it: it is on every server of an instance and stays the
	// same, and one more key file would have to be carried to each.
	private *sm.PrivateKey
}

// openWebhooks loads the key and connects the parts.
func (in *Instance) openWebhooks(ctx context.Context, pass keystore.Secret) error {
	key, err := in.webhookKey(ctx, pass)
	if err != nil {
		return err
	}
	box, err := seal.New(key, sealPurpose)
	if err != nil {
		return err
	}
	policy, err := in.Config.webhookPolicy()
	if err != nil {
		return err
	}
	w := &webhooks{private: key, sender: deliver.New(policy, time.Now)}
	opt := webhook.Options{Policy: policy, Box: box, Sign: key.Sign, Now: time.Now}
	w.dispatcher = webhook.NewDispatcher(in.DB.Webhooks, w.sender.Send,
		webhook.DispatchOptions{Options: opt, Holder: in.holder,
			Jitter: rand.Float64, Keep: in.Config.WebhookKeep, Pace: fanOutPace, Log: in.log, Outages: in.outages})
	w.endpoints = webhook.NewEndpoints(in.DB.Webhooks, opt, w.dispatcher.Wake)
	in.webhooks = w
	in.jobs.add(stageWebhooks, "webhooks by progress", in.followProgress)
	in.jobs.addCloser(stageWebhooks, "webhooks", w.dispatcher.Run, func() error { w.sender.Close(); return nil })
	return nil
}

func (c Config) webhookPolicy() (webhook.Policy, error) {
	allow, err := webhook.ParsePrefixes(c.WebhookAllow)
	if err != nil {
		return webhook.Policy{}, fmt.Errorf("webhook-allow: %w", err)
	}
	return webhook.Policy{Loopback: c.Demo, Allow: allow}, nil
}

// webhookKey loads the key that signs webhooks and seals their secrets. An instance that has
// none yet (it is new, or older than webhooks) gets one; once the database knows a key, a
// missing or another one stops the start: the secrets could not be read.
func (in *Instance) webhookKey(ctx context.Context, pass keystore.Secret) (*sm.PrivateKey, error) {
	path := in.Config.keyPath(fileWebhookKey)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		known, err := in.DB.Webhooks.HasWebhookKey(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the webhook key's row: %w", err)
		}
		if known {
			return nil, fmt.Errorf("%w: the database knows a webhook key and %s is missing: restore it from a "+
				"backup, or copy it from another server of this instance", ErrForeign, path)
		}
		if _, err := newKey(in.Config, fileWebhookKey, pass); err != nil && !errors.Is(err, keystore.ErrExists) {
			return nil, fmt.Errorf("make the webhook key: %w", err)
		}
	}
	key, err := keystore.Load(path, pass)
	if err != nil {
		return nil, fmt.Errorf("the webhook key: %w", err)
	}
	same, err := in.DB.Webhooks.ClaimWebhookKey(ctx, key.Public().Bytes())
	if err != nil {
		return nil, fmt.Errorf("read the webhook key's row: %w", err)
	}
	if !same {
		return nil, fmt.Errorf(
			"%w: %s is not the webhook key that the database knows: copy it from another server of this instance",
			ErrForeign, path)
	}
	return key, nil
}

// followProgress tells the dispatcher when this server's part of the log has moved.
func (in *Instance) followProgress(ctx context.Context) error {
	for {
		changed := in.Progress.Changed()
		in.webhooks.dispatcher.NewFacts()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
