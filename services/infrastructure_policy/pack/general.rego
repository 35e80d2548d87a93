package quantum.aws

import rego.v1

violation contains {"rule": "tags-required", "urn": r.urn, "message": sprintf("%s has no tag %s.", [r.name, tag])} if {
	some r in input.resources
	startswith(r.kind, "aws:")
	is_object(r.properties.tags)
	some tag in ["owner", "environment"]
	not r.properties.tags[tag]
}

shown := {"[secret]", "[unknown]", ""}

violation contains {"rule": "plain-secret", "urn": r.urn, "message": sprintf("%s: %s is not a secret.", [r.name, key])} if {
	some r in input.resources
	some key, value in r.properties
	secret_name(key)
	is_string(value)
	not value in shown
}

violation contains {"rule": "plain-secret", "urn": r.urn, "message": sprintf("%s: %s.%s is not a secret.", [r.name, group, key])} if {
	some r in input.resources
	some group in ["environment", "tags"]
	some key, value in r.properties[group]
	secret_name(key)
	is_string(value)
	not value in shown
}

secret_name(key) if {
	regex.match(`(^|_)(password|passwd|secret|token|private_key|api_key|access_key)$`, lower(key))
}

credential(value) if {
	regex.match(`(AKIA|ASIA)[A-Z0-9]{16}`, value)
}

credential(value) if {
	contains(value, "PRIVATE KEY-----")
}

credential(value) if {
	regex.match(`[A-Z_]*(PASSWORD|SECRET|TOKEN|API_KEY)=['"]?[A-Za-z0-9+/_.-]{6,}`, value)
}
