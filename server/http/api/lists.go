package api

import (
	"maps"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/notary/office/webhook"
	"stele/notary/proof"
)

// describeLists puts the lists of values that are defined elsewhere, once, into the description:
// what a client may meet, and, in requests, what it may send. Lists of two or three values stand
// beside their member; a test compares all of them with what the code defines.
func (a *API) describeLists() {
	o := a.huma.OpenAPI()
	member := func(schema string, path ...string) *huma.Schema {
		s := o.Components.Schemas.Map()[schema]
		for _, name := range path {
			if s.Ref != "" {
				s = o.Components.Schemas.SchemaFromRef(s.Ref)
			}
			if s.Type == huma.TypeArray {
				if s = s.Items; s.Ref != "" {
					s = o.Components.Schemas.SchemaFromRef(s.Ref)
				}
			}
			s = s.Properties[name]
		}
		return s
	}
	list(member("Problem", "code"), slices.Sorted(maps.Keys(statusOf)))
	list(member("Key", "scopes").Items, notary.Scopes)
	list(member("IssuedKey", "scopes").Items, notary.Scopes)
	list(member("NewKey", "scopes").Items, notary.Scopes)
	for _, schema := range []string{"Webhook", "NewWebhook", "CreateWebhookInputBody", "ChangeWebhookInputBody"} {
		list(member(schema, "events").Items, webhook.Kinds)
	}
	list(member("Delivery", "type"), append(slices.Clone(webhook.Kinds), webhook.Ping))
	list(member("FeedEvent", "type"), webhook.Kinds)
	list(member("Report", "steps", "step"), proof.StepNames())
	list(member("Report", "steps", "status"), proof.Statuses())
	list(member("Report", "steps", "strength"), proof.Strengths())
	list(member("Report", "anchors", "strength"), proof.Strengths())
	list(member("Report", "warnings", "code"), proof.Warnings())
	list(member("Report", "standing", "state"), proof.StandingStates())
	for _, p := range o.Paths["/api/v1/events"].Get.Parameters {
		if p.Name == "types" {
			list(p.Schema.Items, webhook.Kinds)
		}
	}
}

// list makes a member one of some values.
func list[T ~string](s *huma.Schema, values []T) {
	s.Enum = make([]any, len(values))
	for i, v := range values {
		s.Enum[i] = string(v)
	}
	s.PrecomputeMessages()
}
