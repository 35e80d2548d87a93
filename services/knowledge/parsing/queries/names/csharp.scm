(identifier) @reference
(member_access_expression name: (identifier) @member)
(using_directive) @import
(comment) @comment
(local_declaration_statement (variable_declaration (variable_declarator name: (identifier) @local)))
(parameter name: (identifier) @local)
(foreach_statement left: (identifier) @local)
(catch_declaration name: (identifier) @local)
(implicit_parameter) @local
