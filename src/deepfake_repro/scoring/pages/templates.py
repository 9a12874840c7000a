"""Style and Jinja templates of a scored file's page."""

from __future__ import annotations

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 900px; margin: 1.5em auto; padding: 0 1em; overflow-wrap: break-word; }
h1 { font-size: 1.3em; overflow-wrap: anywhere; }
h2 { font-size: 1.15em; margin: 1.8em 0 .4em; }
h3 { font-size: 1em; margin: 1.4em 0 .3em; }
.detector { border-top: 2px solid #555; margin-top: 2em; }
.verdict { border-left: 6px solid #555; background: #f4f4f4; padding: .7em 1em; font-size: 1.1em; }
.none { border-left-color: #b00020; background: #fdecee; }
.notice { border: 2px solid #0173b2; background: #eaf4fb; padding: .5em 1em; margin: .6em 0; }
.notice ul { margin: .2em 0; padding-left: 1.3em; }
.warning { border-left: 6px solid #de8f05; background: #fff7e6; padding: .4em 1em; margin: .4em 0; }
.wide { overflow-x: auto; }
.wide img { width: 100%; min-width: 36em; }
table { border-collapse: collapse; }
td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; min-width: 4em; }
figure { display: inline-block; margin: .3em .8em .3em 0; vertical-align: top; }
figure img { max-width: 100%; }
figcaption, .small { font-size: .85em; color: #555; }
"""

_MACROS = """\
{% macro table(rows, head=()) %}
<div class="wide"><table>
{% if head %}
<tr>{% for cell in head %}<th>{{ cell }}</th>{% endfor %}</tr>
{% endif %}
{% for row in rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endmacro %}
{% macro drawing(picture) %}
<div class="wide"><img src="{{ picture.source }}" alt="{{ picture.words }}"></div>
{% endmacro %}
{% macro faces(figures) %}
{% for figure in figures %}
<figure><img alt="face" src="{{ figure.source }}"><figcaption>{{ figure.caption }}</figcaption>\
</figure>
{% endfor %}
{% endmacro %}
"""

DETECTOR = (
    _MACROS
    + """\
<p class="{{ 'verdict none' if scored.no_verdict else 'verdict' }}">{{ scored.verdict }}</p>
{% for text in scored.warnings %}
<p class="warning">{{ text }}</p>
{% endfor %}
{% if scored.p_fake is not none %}
{{ table(numbers) }}
{% if scale %}
<{{ h }}>Beside the held-out validation videos</{{ h }}>
{{ drawing(scale) }}
<p class="small">Each line is a validation video; dashed: the thresholds of the table below.</p>
{% endif %}
<{{ h }}>Score of each face over time</{{ h }}>
{{ drawing(over_time) }}
<p class="small">0: like the training reals, 1: like the training fakes; dashed: balanced threshold.
The colours are those of the tracks below.
{% if more_tracks > 0 %} {{ more_tracks }} shorter tracks are in the JSON file only.{% endif %}
</p>
<{{ h }}>People</{{ h }}>
{{ faces(people) }}
<p class="small">A track joins faces whose boxes overlap from one sampled frame to the next; a cut
begins new tracks. The picture is the crop that the network got, a box in it the face detector's.
</p>
<{{ h }}>Highest faces</{{ h }}>
{{ faces(moments) }}
<p class="small">{% if heat_map %}Right of each face: {{ heat_map }}. {% endif %}These faces
have the highest scores of this file, whatever its own score is; at most {{ per_track }} per
track.</p>
<{{ h }}>What the score is worth</{{ h }}>
{% if points %}
{{ table(points, ("operating point", "threshold", "false alarms among reals", "fakes found")) }}
<p>{{ measured_on }}</p>
{% else %}
<p>No error rates are stored with this model.</p>
{% endif %}
{% endif %}
<{{ h }}>Left out</{{ h }}>
{% if left_out %}
{{ table(left_out) }}
{% else %}
<p>Nothing: every sampled frame gave a face.</p>
{% endif %}
"""
)

FILE = (
    _MACROS
    + """\
<h1>{{ name }}</h1>
{% if notes %}
<div class="notice"><strong>Look at the file before you read the score:</strong>
<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul></div>
{% endif %}
{% if agreement %}
<p class="{{ 'verdict' if has_verdict else 'verdict none' }}">{{ agreement }}</p>
{{ table(overview, ("detector", "score", "what it says")) }}
{% endif %}
{% for title, part in detectors %}
{% if agreement %}
<section class="detector">
<h2>{{ title }}</h2>
{{ part }}
</section>
{% else %}
{{ part }}
{% endif %}
{% endfor %}
{% if stress %}
<h2>How far the score moves when the clip is changed</h2>
{{ table(stress, stress_head) }}
<p class="small">At most the first {{ stress_seconds }} seconds, changed and scored again. In
brackets: the shift from the copy saved again. A score that such changes move across a threshold
is worth little.</p>
{% endif %}
{% if signals %}
<h2>What the file says about itself</h2>
{{ table(signals) }}
<p class="small">Printed as found, never judged: such entries are easily removed or forged, and
their absence means nothing. Signatures are not checked.</p>
{% endif %}
<h2>What no detector here knows</h2>
<ul>
<li>The sound: a cloned voice over a genuine picture is not noticed.</li>
<li>Anything outside the faces, and wholly generated videos, unless the detector's training corpora
contain such.</li>
<li>The clip's origin and context: a genuine clip can be cut or presented to deceive.</li>
</ul>
<p>{% for label, file in links.items() %}
<a href="{{ file }}">{{ label }}</a>{% if not loop.last %} · {% endif %}
{% endfor %}</p>
"""
)
