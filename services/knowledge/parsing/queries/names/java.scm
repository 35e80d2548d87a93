(identifier) @reference
(type_identifier) @reference
(field_access field: (identifier) @member)
(method_invocation name: (identifier) @member)
(import_declaration) @import
(package_declaration) @skiprange
(line_comment) @comment
(block_comment) @comment
(local_variable_declaration declarator: (variable_declarator name: (identifier) @local))
(formal_parameter name: (identifier) @local)
(spread_parameter (variable_declarator name: (identifier) @local))
(catch_formal_parameter name: (identifier) @local)
(enhanced_for_statement name: (identifier) @local)
(lambda_expression parameters: (identifier) @local)
(inferred_parameters (identifier) @local)
(resource name: (identifier) @local)
