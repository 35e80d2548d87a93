(identifier) @reference
(type_identifier) @reference
(field_identifier) @member
(scoped_identifier name: (identifier) @member)
(use_declaration) @import
(extern_crate_declaration) @import
(line_comment) @comment
(block_comment) @comment
(attribute_item) @attribute
(let_declaration pattern: (identifier) @local)
(let_declaration pattern: (tuple_pattern (identifier) @local))
(parameter pattern: (identifier) @local)
(closure_parameters (identifier) @local)
(closure_parameters (parameter pattern: (identifier) @local))
(for_expression pattern: (identifier) @local)
(for_expression pattern: (tuple_pattern (identifier) @local))
(tuple_struct_pattern (identifier) @local . )
(mut_pattern (identifier) @local)
