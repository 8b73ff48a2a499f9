# The demo: a prompt, the picture as it is drawn, and a way to stop it.
extends MarginContainer

# Where the model is; the environment's CM3_MODEL overrules it.
@export_file var model_path := "res://toybox.cm3"

var cm3 = preload("res://addons/cm3leon/cm3leon.gd").new()

@onready var prompt = $Rows/Entry/Prompt
@onready var draw_button = $Rows/Entry/Draw
@onready var cancel_button = $Rows/Entry/Cancel
@onready var picture = $Rows/Picture
@onready var bar = $Rows/Progress
@onready var status = $Rows/Status


func _ready():
	add_child(cm3)
	for event in ["loaded", "progress", "preview", "image_ready", "failed", "finished"]:
		cm3.connect(event, Callable(self, "_on_" + event))
	draw_button.pressed.connect(_on_draw)
	prompt.text_submitted.connect(_on_draw)
	cancel_button.pressed.connect(cm3.cancel)
	draw_button.disabled = true
	status.text = "loading the model ..."
	var path = OS.get_environment("CM3_MODEL") if OS.has_environment("CM3_MODEL") else model_path
	if not cm3.load_model(path):
		_on_failed(cm3.message)


func _on_draw(_text = ""):
	if not cm3.generate(prompt.text, {"preview_rows": 1}):
		_on_failed(cm3.message)
		return
	draw_button.disabled = true
	cancel_button.disabled = false
	status.text = "drawing ..."


func _on_loaded():
	draw_button.disabled = false
	status.text = "ready"
	prompt.grab_focus()


func _on_progress(done, total, seconds):
	bar.value = float(done) / max(total, 1)
	status.text = "%d of %d tokens, %.1f s" % [done, total, seconds]


func _on_preview(image, _candidate):
	_show(image)


func _on_image_ready(image, _candidate):
	_show(image)


func _on_failed(message):
	status.text = message


func _on_finished(reason):
	draw_button.disabled = false
	cancel_button.disabled = true
	if reason == "cancelled":
		status.text = "cancelled after " + status.text
	elif reason == "finished":
		status.text += ", seed %d" % cm3.last_seed


func _show(image):
	picture.texture = ImageTexture.create_from_image(image)
