(identifier) @reference
(property_identifier) @member
(shorthand_property_identifier) @reference
(import_statement) @import
(call_expression function: (identifier) @_f (#eq? @_f "require")) @import
(export_statement source: (string)) @import
(comment) @comment
(variable_declarator name: (identifier) @local)
(variable_declarator name: (array_pattern (identifier) @local))
(shorthand_property_identifier_pattern) @local
(arrow_function parameter: (identifier) @local)
(catch_clause parameter: (identifier) @local)
(for_in_statement left: (identifier) @local)
(rest_pattern (identifier) @local)
(type_identifier) @reference
(required_parameter pattern: (identifier) @local)
(optional_parameter pattern: (identifier) @local)
