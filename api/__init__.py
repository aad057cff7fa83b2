"""
The HTTP side: a door, thin over the same rooms as the workers.

``app`` puts it together; ``middleware`` is what every request passes; ``auth`` says who asks; ``envelope`` is the form
of every answer; ``schemas`` is the only place that speaks camelCase; a file a noun holds the routes.
"""
