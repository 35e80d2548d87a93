package quantum.aws

import rego.v1

violation contains {"rule": "sqs-encryption", "urn": r.urn, "message": sprintf("%s is not encrypted.", [r.name])} if {
	some r in input.resources
	r.kind == "aws:Queue"
	r.properties.encryption == "none"
}

violation contains {"rule": "sqs-public-policy", "urn": r.urn, "message": sprintf("The policy of %s allows everybody.", [r.name])} if {
	some r in input.resources
	r.kind == "aws:Queue"
	some statement in statements(r.properties.policy)
	allows_anybody(statement)
}

# A queue that others name as their dead letter queue needs none itself; one whose name says so is taken as one.
violation contains {"rule": "sqs-dead-letter", "urn": r.urn, "message": sprintf("%s has no dead letter queue.", [r.name])} if {
	some r in input.resources
	r.kind == "aws:Queue"
	r.properties.dead_letter_arn == ""
	not contains(r.name, "dead")
	not contains(r.name, "dlq")
}

violation contains {"rule": "dynamodb-recovery", "urn": r.urn, "message": sprintf("%s has no point-in-time recovery.", [r.name])} if {
	some r in input.resources
	r.kind == "aws:Table"
	r.properties.point_in_time_recovery == false
}

violation contains {"rule": "dynamodb-encryption", "urn": r.urn, "message": sprintf("%s is not encrypted with a key of the account.", [r.name])} if {
	some r in input.resources
	r.kind == "aws:Table"
	r.properties.kms_encryption == false
}

violation contains {"rule": "dynamodb-deletion-protection", "urn": r.urn, "message": sprintf("%s is not protected from deletion.", [r.name])} if {
	some r in input.resources
	r.kind == "aws:Table"
	r.properties.deletion_protection == false
}
