"""Text that tries to act, for every place that shows what clients send."""

SCRIPT = "<script>window.hacked=1</script>"
CORPUS = (
    SCRIPT,
    "\"'><img src=x onerror=window.hacked=1>",
    "<svg/onload=window.hacked=1>",
    "[click](javascript:window.hacked=1)",
    "[click](JaVaScRiPt:window.hacked=1)",
    "[click](data:text/html;base64,PHNjcmlwdD53aW5kb3cuaGFja2VkPTE8L3NjcmlwdD4=)",
    "![x](https://evil.example.com/track.png)",
    "</textarea></script></pre><iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
    "{{constructor.constructor('window.hacked=1')()}}",
    '<a href="javascript:window.hacked=1" hx-get=/admin/ hx-trigger=load>x</a>',
    "`<b onmouseover=window.hacked=1>`\n\n```\n</code></pre><script>window.hacked=1</script>\n```",
    "<div hx-on:load='window.hacked=1' data-hx-get='/x'>x</div>",
)
ALL = "\n\n".join(CORPUS)
FORBIDDEN = (
    "<script>window",
    "<img src=x",
    "<svg/onload",
    'href="javascript',
    'href="JaVaScRiPt',
    'href="data:',
    "<iframe",
    'src="https://evil',
    "<div hx-on",
    '<a href="javascript',
    "<b onmouseover",
)
