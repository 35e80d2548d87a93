(identifier) @reference
(constant) @reference
(call receiver: (_) method: (identifier) @member)
(call method: (identifier) @_f (#match? @_f "^(require|require_relative|load|include|extend)$")) @import
(comment) @comment
(assignment left: (identifier) @local)
(left_assignment_list (identifier) @local)
(method_parameters (identifier) @local)
(method_parameters (optional_parameter name: (identifier) @local))
(method_parameters (keyword_parameter name: (identifier) @local))
(method_parameters (splat_parameter name: (identifier) @local))
(method_parameters (block_parameter name: (identifier) @local))
(block_parameters (identifier) @local)
(exception_variable (identifier) @local)
