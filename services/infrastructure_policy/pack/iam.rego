package quantum.aws

import rego.v1

# Every document that gives rights: managed policies, and what roles and users have of their own.
granting contains {"resource": r, "statement": statement, "where": "Its policy"} if {
	some r in input.resources
	r.kind == "aws:Policy"
	some statement in statements(r.properties.policy)
	statement.Effect == "Allow"
}

granting contains {"resource": r, "statement": statement, "where": sprintf("Its inline policy %s", [name])} if {
	some r in input.resources
	r.kind in {"aws:Role", "aws:User"}
	some name, document in r.properties.inline_policies
	some statement in statements(document)
	statement.Effect == "Allow"
}

violation contains {"rule": "iam-admin", "urn": one.resource.urn, "message": sprintf("%s: %s allows every action on every resource.", [one.resource.name, one.where])} if {
	some one in granting
	"*" in listed(object.get(one.statement, "Action", []))
	"*" in listed(object.get(one.statement, "Resource", []))
}

violation contains {"rule": "iam-action-wildcard", "urn": one.resource.urn, "message": sprintf("%s: %s allows %s.", [one.resource.name, one.where, action])} if {
	some one in granting
	some action in listed(object.get(one.statement, "Action", []))
	endswith(action, ":*")
}

violation contains {"rule": "iam-not-action", "urn": one.resource.urn, "message": sprintf("%s: %s allows by NotAction.", [one.resource.name, one.where])} if {
	some one in granting
	one.statement.NotAction
}

attached contains {"resource": r, "arn": r.properties.policy_arn} if {
	some r in input.resources
	r.kind == "aws:RolePolicyAttachment"
}

attached contains {"resource": r, "arn": arn} if {
	some r in input.resources
	r.kind == "aws:User"
	some arn in r.properties.policy_arns
}

violation contains {"rule": "iam-managed-admin", "urn": one.resource.urn, "message": sprintf("%s attaches %s.", [one.resource.name, one.arn])} if {
	some one in attached
	some name in ["/AdministratorAccess", "/IAMFullAccess", "/PowerUserAccess"]
	endswith(one.arn, name)
}

trusting contains {"resource": r, "statement": statement} if {
	some r in input.resources
	r.kind == "aws:Role"
	some statement in statements(r.properties.assume_role_policy)
	statement.Effect == "Allow"
}

violation contains {"rule": "iam-trust-anybody", "urn": one.resource.urn, "message": sprintf("Anybody may take the role %s.", [one.resource.name])} if {
	some one in trusting
	allows_anybody(one.statement)
}

violation contains {"rule": "iam-cross-account-external-id", "urn": one.resource.urn, "message": sprintf("%s may take the role %s without MFA or an external id.", [principal, one.resource.name])} if {
	some one in trusting
	some principal in listed(object.get(object.get(one.statement, "Principal", {}), "AWS", []))
	principal != "*"
	not one.statement.Condition
}

violation contains {"rule": "iam-user-inline-policy", "urn": r.urn, "message": sprintf("The user %s has %d policies of its own.", [r.name, count(r.properties.inline_policies)])} if {
	some r in input.resources
	r.kind == "aws:User"
	count(r.properties.inline_policies) > 0
}

violation contains {"rule": "iam-user", "urn": r.urn, "message": sprintf("The user %s has no permissions boundary.", [r.name])} if {
	some r in input.resources
	r.kind == "aws:User"
	r.properties.permissions_boundary == ""
}
