"""
The HTTP side: a door, thin over the same rooms as the workers.

``app`` puts it together; ``middleware`` is what every request passes; ``auth`` says who asks, by an API key or by a
``bearer`` token, within its ``limits``; ``envelope`` is the form of every answer; ``reads`` tells what a completed run
found; ``schemas`` is the only place that speaks camelCase; a file a noun holds the routes.
"""
