package quantum.aws

import rego.v1

# The statements of a policy document in JSON; none where there is none, or it is not known yet.
statements(document) := found if {
	startswith(document, "{")
	parsed := json.unmarshal(document)
	found := listed(object.get(parsed, "Statement", []))
} else := []

listed(value) := value if {
	is_array(value)
} else := [value]

anybody(principal) if {
	principal == "*"
}

anybody(principal) if {
	is_object(principal)
	some one in listed(object.get(principal, "AWS", []))
	one == "*"
}

# A condition may confine it; which ones do is for a person to judge.
allows_anybody(statement) if {
	statement.Effect == "Allow"
	anybody(object.get(statement, "Principal", ""))
	not statement.Condition
}
