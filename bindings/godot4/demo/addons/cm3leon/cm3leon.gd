# A CM3Leon model in a game: add it to the tree, load a model, ask for pictures or texts, listen to its signals. It
# looks for news once a frame, which takes no time to speak of, and emits every signal from there, on the main thread.
class_name Cm3leon
extends Node

# The model is there.
signal loaded()
# Tokens made, of so many, and seconds since the beginning: at most once a frame.
signal progress(done, total, seconds)
# With the option preview_rows: the picture as far as it is drawn, an Image whose missing rows are black.
signal preview(image, candidate)
# A finished picture, an Image.
signal image_ready(image, candidate)
# A piece of text, as it is written.
signal text(piece, candidate)
# Loading or generating went wrong; what, in the library's words.
signal failed(message)
# The last signal of each generation: "finished", "max_tokens", "cancelled" or, behind `failed`, "failed".
signal finished(reason)

# How long a frame may be kept up: with the option threads = 0 computing happens here, in slices of about this.
@export var poll_budget_usec := 0

# What went wrong last.
var message := ""
# The seed of the last generation, once it finished: the same one gives the same picture again.
var last_seed := 0

var _player = null


func _init():
	process_mode = Node.PROCESS_MODE_ALWAYS
	if ClassDB.class_exists("Cm3leonPlayer"):
		_player = ClassDB.instantiate("Cm3leonPlayer")
	if _player == null:
		message = "the library of the add-on could not be loaded; Godot's output says why"


# Begins to load a .cm3 file or a folder (res://, user:// or a path of the system); `loaded` or `failed` tells the end
# of it. False, with `message`, where it could not begin. Options: threads (-1: one a core; 0: none, computing happens
# in _process), bank (a memory bank to look things up in), huge, verify_checksum, check_weights.
func load_model(path, options = {}) -> bool:
	if not path is String or not options is Dictionary:
		return _refuse("load_model() takes a path and a dictionary of options")
	var given = options.duplicate()
	if given.get("bank") is String:
		given["bank"] = _real_path(given["bank"])
	return _real_path_is_there(path) and _tell(_player and _player.load_model(_real_path(path), given))


# Begins to generate from a prompt; `finished` is the last signal. False, with `message`, where it could not begin,
# as while something else is being generated. Options have the names of the library's own: modality ("image", "text",
# "interleaved"), seed, candidates, best, guidance_scale, temperature, top_k, top_p, max_tokens, preview_rows ...;
# and retrieve, how many documents of the bank stand before the prompt.
func generate(prompt, options = {}) -> bool:
	return _tell(_player and _player.generate(prompt, options))


# Asks what is being generated to stop; `finished` follows within a frame or two.
func cancel() -> void:
	if _player:
		_player.cancel()


# Gives the model back. What is being generated ends without further signals.
func unload() -> void:
	if _player:
		_player.unload()


func is_loading() -> bool:
	return _player != null and _player.is_loading()


func is_loaded() -> bool:
	return _player != null and _player.is_loaded()


func is_running() -> bool:
	return _player != null and _player.is_running()


func _process(_delta):
	poll()


# Looks for news and emits signals; _process does so each frame. To be called where the node is not in the tree.
func poll() -> void:
	if not _player:
		return
	_player.poll(poll_budget_usec)
	var event = _player.next()
	while event != null:
		_emit(event)
		event = _player.next() if _player else null


func _emit(event):
	match event["event"]:
		"loaded":
			loaded.emit()
		"progress":
			progress.emit(event["done"], event["total"], event["seconds"])
		"preview":
			preview.emit(_image(event), event["candidate"])
		"image":
			image_ready.emit(_image(event), event["candidate"])
		"text":
			text.emit(event["text"], event["candidate"])
		"failed":
			message = event["message"]
			failed.emit(message)
		"finished":
			last_seed = event["seed"]
			finished.emit(event["reason"])


func _image(event):
	return Image.create_from_data(event["width"], event["height"], false, Image.FORMAT_RGB8, event["data"])


func _tell(begun) -> bool:
	if not begun and _player:
		message = _player.get_message()
	return begun if begun is bool else false


func _refuse(why) -> bool:
	message = why
	return false


func _real_path(path):
	return ProjectSettings.globalize_path(path) if path.begins_with("res://") or path.begins_with("user://") else path


# The library reads files of the system. What lies in an exported game's pack is none.
func _real_path_is_there(path) -> bool:
	if path.begins_with("res://") and FileAccess.file_exists(path) and not FileAccess.file_exists(_real_path(path)):
		return _refuse("%s lies in the game's pack, where it cannot be mapped: ship it beside the game" % path)
	return true
