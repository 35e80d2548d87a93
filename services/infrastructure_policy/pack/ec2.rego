package quantum.aws

import rego.v1

everywhere := {"0.0.0.0/0", "::/0"}

# Ingress rules that let the whole internet in.
open_rules contains {"resource": r, "rule": rule} if {
	some r in input.resources
	r.kind == "aws:SecurityGroup"
	some rule in r.properties.ingress
	rule.source in everywhere
}

reaches(rule, port) if {
	rule.protocol == "-1"
}

reaches(rule, port) if {
	rule.protocol in {"tcp", "udp"}
	rule.from_port <= port
	rule.to_port >= port
}

violation contains {"rule": "sg-ssh-open", "urn": one.resource.urn, "message": sprintf("%s lets %s reach port 22.", [one.resource.name, one.rule.source])} if {
	some one in open_rules
	reaches(one.rule, 22)
}

violation contains {"rule": "sg-rdp-open", "urn": one.resource.urn, "message": sprintf("%s lets %s reach port 3389.", [one.resource.name, one.rule.source])} if {
	some one in open_rules
	reaches(one.rule, 3389)
}

violation contains {"rule": "sg-all-open", "urn": one.resource.urn, "message": sprintf("%s lets %s reach every port.", [one.resource.name, one.rule.source])} if {
	some one in open_rules
	everything(one.rule)
}

everything(rule) if {
	rule.protocol == "-1"
}

everything(rule) if {
	rule.protocol in {"tcp", "udp"}
	rule.from_port <= 1
	rule.to_port >= 65535
}

databases := {
	1433: "SQL Server", 1521: "Oracle", 3306: "MySQL", 5432: "PostgreSQL", 6379: "Redis", 9042: "Cassandra",
	9200: "Elasticsearch", 11211: "memcached", 27017: "MongoDB",
}

violation contains {"rule": "sg-database-open", "urn": one.resource.urn, "message": sprintf("%s lets %s reach port %d (%s).", [one.resource.name, one.rule.source, port, name])} if {
	some one in open_rules
	some port, name in databases
	reaches(one.rule, port)
}

violation contains {"rule": "sg-egress-all", "urn": r.urn, "message": sprintf("%s lets everything out.", [r.name])} if {
	some r in input.resources
	r.kind == "aws:SecurityGroup"
	some rule in r.properties.egress
	rule.protocol == "-1"
	rule.source in everywhere
}

violation contains {"rule": "sg-rule-description", "urn": r.urn, "message": sprintf("%s: the rule %s has no description.", [r.name, key])} if {
	some r in input.resources
	r.kind == "aws:SecurityGroup"
	some key, rule in r.properties.ingress
	rule.description == ""
}

instances contains r if {
	some r in input.resources
	r.kind == "aws:Instance"
}

violation contains {"rule": "ec2-imdsv2", "urn": r.urn, "message": sprintf("%s answers metadata requests without a token.", [r.name])} if {
	some r in instances
	r.properties.metadata_tokens == "optional"
}

violation contains {"rule": "ec2-public-ip", "urn": r.urn, "message": sprintf("%s gets a public address.", [r.name])} if {
	some r in instances
	r.properties.associate_public_ip == true
}

violation contains {"rule": "ec2-unencrypted-volume", "urn": r.urn, "message": sprintf("The volume of %s is not encrypted.", [r.name])} if {
	some r in instances
	r.properties.root_encrypted == false
}

violation contains {"rule": "ec2-user-data-secret", "urn": r.urn, "message": sprintf("The user data of %s holds what looks like a credential.", [r.name])} if {
	some r in instances
	credential(r.properties.user_data)
}

violation contains {"rule": "subnet-public-ip", "urn": r.urn, "message": sprintf("What starts in %s gets a public address.", [r.name])} if {
	some r in input.resources
	r.kind == "aws:Subnet"
	r.properties.map_public_ip_on_launch == true
}
