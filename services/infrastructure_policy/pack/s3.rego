package quantum.aws

import rego.v1

buckets contains r if {
	some r in input.resources
	r.kind == "aws:Bucket"
}

violation contains {"rule": "s3-public-access", "urn": r.urn, "message": sprintf("%s does not block public access (%s is off).", [r.name, key])} if {
	some r in buckets
	some key, on in r.properties.public_access_block
	on == false
}

violation contains {"rule": "s3-public-policy", "urn": r.urn, "message": sprintf("The policy of %s allows everybody.", [r.name])} if {
	some r in buckets
	some statement in statements(r.properties.policy)
	allows_anybody(statement)
}

violation contains {"rule": "s3-encryption", "urn": r.urn, "message": sprintf("%s is not encrypted.", [r.name])} if {
	some r in buckets
	r.properties.encryption == "none"
}

violation contains {"rule": "s3-versioning", "urn": r.urn, "message": sprintf("%s keeps no versions of what is overwritten or deleted.", [r.name])} if {
	some r in buckets
	r.properties.versioning == false
}

violation contains {"rule": "s3-tls-only", "urn": r.urn, "message": sprintf("%s takes requests that are not encrypted on their way.", [r.name])} if {
	some r in buckets
	r.properties.policy != "[unknown]"
	not denies_plain_requests(r)
}

denies_plain_requests(r) if {
	some statement in statements(r.properties.policy)
	statement.Effect == "Deny"
	statement.Condition.Bool["aws:SecureTransport"] == "false"
}

violation contains {"rule": "s3-force-destroy", "urn": r.urn, "message": sprintf("Destroying %s deletes the objects in it.", [r.name])} if {
	some r in buckets
	r.properties.force_destroy == true
}
