# The add-on in a real Godot 3, frame by frame. Says what was wrong, and ends with exit code 1 where anything was.
#   godot3-server --path PROJECT -s check.gd, with CM3_MODEL, CM3_WORK (a folder with what run.sh puts there)
extends SceneTree

const Cm3 = preload("res://addons/cm3leon/cm3leon.gd")
const PROMPT = "a large red circle at the top left and a small blue star in the center on a sand background"

var failures := 0
var model := OS.get_environment("CM3_MODEL")
var work := OS.get_environment("CM3_WORK")

var log_of := {} # signals seen, by name, since listen()
var pieces := []
var images := []
var previews := 0
var message := ""
var reason := ""
var dones := [] # of progress, with the frame it came in
var polls := []


func _init():
	Engine.target_fps = 60
	call_deferred("run")


func check(right, what):
	if not right:
		failures += 1
		print("FAILED: ", what)


func listen(cm3):
	for name in ["loaded", "progress", "preview", "image_ready", "text", "failed", "finished"]:
		cm3.connect(name, self, "on_" + name)
	forget()
	return cm3


func forget():
	log_of = {}
	pieces = []
	images = []
	previews = 0
	message = ""
	reason = ""
	dones = []
	polls = []


func count(name):
	log_of[name] = log_of.get(name, 0) + 1


func on_loaded(): count("loaded")
func on_progress(done, _total, _seconds):
	count("progress")
	dones.append([done, Engine.get_idle_frames()])
func on_preview(image, _candidate):
	count("preview")
	previews += 1
	check(image.get_width() > 0 and not image.is_empty(), "a preview is no picture")
func on_image_ready(image, _candidate):
	count("image_ready")
	images.append(image)
func on_text(piece, _candidate): pieces.append(piece)
func on_failed(why):
	count("failed")
	message = why
func on_finished(why):
	count("finished")
	reason = why


# Frames, until something was seen; at most three minutes.
func wait_for(name, cm3):
	var start = OS.get_ticks_msec()
	while not log_of.has(name):
		if OS.get_ticks_msec() - start > 180000:
			check(false, "waited three minutes for " + name)
			return
		yield(self, "idle_frame")
		var before = OS.get_ticks_usec()
		cm3.poll()
		polls.append(OS.get_ticks_usec() - before)
	yield(self, "idle_frame")


func run():
	# What is not in the tree is polled by wait_for(), which takes its time; the last part has a node in the tree.
	var cm3 = listen(Cm3.new())
	check(cm3.message == "", cm3.message)
	yield(refusals(cm3), "completed")
	yield(bad_files(cm3), "completed")
	yield(a_picture(cm3), "completed")
	yield(cancelling(cm3), "completed")
	yield(from_signals(cm3), "completed")
	yield(texts(cm3), "completed")
	yield(without_threads(), "completed")
	yield(looking_up(), "completed")
	yield(freeing(cm3), "completed")
	if failures == 0:
		print("all checks passed")
	quit(1 if failures else 0)


func refusals(cm3):
	check(not cm3.generate(PROMPT) and cm3.message == "no model was loaded", "without a model: " + cm3.message)
	check(not cm3.load_model(model, {"threds": 1}) and "threds" in cm3.message, "unknown option: " + cm3.message)
	check(not cm3.load_model(model, {"threads": 1.5}) and "threads" in cm3.message, "half a thread: " + cm3.message)
	check(not cm3.load_model(model, {"threads": 5000000000}) and "threads" in cm3.message, "32 bits: " + cm3.message)
	check(not cm3.load_model(7) and cm3.message != "", "a path that is none")
	var many = {}
	for i in range(100): many["key%d" % i] = i
	check(not cm3.load_model(model, many) and "key" in cm3.message, "many options: " + cm3.message)
	check(not cm3.is_loading() and not cm3.is_running(), "something was begun")
	cm3.cancel()
	yield(self, "idle_frame")


# (4) A message, and life goes on.
func bad_files(cm3):
	for name in ["missing.cm3", "cut.cm3", "text.cm3", "bad.bank"]:
		forget()
		var options = {"threads": 1}
		var path = work + "/" + name
		if name == "bad.bank":
			options["bank"] = path
			path = model
		check(cm3.load_model(path, options), cm3.message)
		check(cm3.is_loading() and not cm3.load_model(model), "two loadings at once")
		yield(wait_for("failed", cm3), "completed")
		check(name in message and message == cm3.message, name + ": " + message)
		check(not cm3.is_loaded() and not cm3.is_loading(), name + " was loaded")
	forget()
	check(cm3.load_model(work + "/mödel ☆.cm3", {"threads": 1, "verify_checksum": true}), cm3.message)
	yield(wait_for("loaded", cm3), "completed")
	check(cm3.is_loaded(), "nothing was loaded")


# (1) Over several frames, none of which is held up; (2) the very bytes that a C program gets.
func a_picture(cm3):
	forget()
	check(cm3.generate(PROMPT, {"seed": 7, "preview_rows": 2}), cm3.message)
	check(cm3.is_running() and not cm3.generate(PROMPT) and cm3.message != "", "two generations at once")
	yield(wait_for("finished", cm3), "completed")
	check(reason == "finished" and not log_of.has("failed") and cm3.last_seed == 7, "it ended: " + reason + message)
	var frames = {}
	for i in dones.size():
		frames[dones[i][1]] = true
		check(i == 0 or dones[i][0] > dones[i - 1][0], "progress went back")
	check(frames.size() >= 4, "tokens came in %d frames only" % frames.size())
	polls.sort()
	var median = polls[polls.size() / 2]
	var most = polls[polls.size() * 9 / 10]
	print("frames %d, poll: median %d us, nine of ten below %d us" % [polls.size(), median, most])
	check(median < 4000 and most < 16000, "poll held frames up")
	check(previews > 0, "there were no previews")
	check(images.size() == 1, "%d pictures" % images.size())
	if images.size() == 1:
		var hash_of = HashingContext.new()
		hash_of.start(HashingContext.HASH_SHA256)
		hash_of.update(images[0].get_data())
		var found = "%dx%d %s" % [images[0].get_width(), images[0].get_height(), hash_of.finish().hex_encode()]
		check(found == OS.get_environment("CM3_EXPECTED"), "the picture is " + found)
		check(images[0].save_png(work + "/picture.png") == OK, "the picture could not be saved")


# (3) Mid-way, and again after it.
func cancelling(cm3):
	forget()
	check(cm3.generate(PROMPT, {"seed": 8, "candidates": 16}), cm3.message)
	yield(wait_for("progress", cm3), "completed")
	var asked = OS.get_ticks_msec()
	cm3.cancel()
	yield(wait_for("finished", cm3), "completed")
	print("cancelled after %d tokens, within %d ms" % [dones[-1][0], OS.get_ticks_msec() - asked])
	check(reason == "cancelled" and not log_of.has("failed"), "cancelled: " + reason + message)
	check(images.size() == 0, "it was drawn all the same")
	check(not cm3.is_running(), "it still runs")
	check(not cm3.generate(PROMPT, {"candidates": 1000}) and "candidates" in cm3.message, "too many: " + cm3.message)
	check(not cm3.generate(PROMPT, {"retrieve": 2}) and "bank" in cm3.message, "no bank: " + cm3.message)
	check(not cm3.generate(PROMPT, {"modality": "film"}) and "interleaved" in cm3.message, "film: " + cm3.message)


# Whatever a signal's receiver does.
func from_signals(cm3):
	forget()
	cm3.connect("preview", self, "stop", [cm3], CONNECT_ONESHOT)
	cm3.connect("finished", self, "again", [cm3], CONNECT_ONESHOT)
	check(cm3.generate(PROMPT, {"seed": 9, "candidates": 8, "preview_rows": 1}), cm3.message)
	yield(wait_for("image_ready", cm3), "completed")
	yield(wait_for_count("finished", 2, cm3), "completed")
	check(reason == "finished" and images.size() == 1, "from within a signal: " + reason)
	forget()
	cm3.connect("progress", self, "drop", [cm3], CONNECT_ONESHOT)
	check(cm3.generate(PROMPT), cm3.message)
	yield(wait_for("progress", cm3), "completed")
	check(not cm3.is_loaded() and not cm3.is_running() and not log_of.has("finished"), "unload() left something")
	check(not cm3.generate(PROMPT), "it draws without a model")
	check(cm3.load_model(model, {"threads": 1}), cm3.message)
	yield(wait_for("loaded", cm3), "completed")


func wait_for_count(name, times, cm3):
	var start = OS.get_ticks_msec()
	while log_of.get(name, 0) < times and OS.get_ticks_msec() - start < 180000:
		yield(self, "idle_frame")
		cm3.poll()
	yield(self, "idle_frame")


func stop(_image, _candidate, cm3):
	check(cm3.is_running(), "not running in a signal")
	cm3.cancel()


func again(why, cm3):
	check(why == "cancelled", "cancelled in a signal: " + why)
	check(cm3.generate(PROMPT, {"seed": 10}), "from finished: " + cm3.message)


func drop(_done, _total, _seconds, cm3):
	cm3.unload()


func texts(cm3):
	forget()
	check(cm3.generate("a", {"seed": 3, "modality": "text", "max_tokens": 5, "min_tokens": 5, "temperature": 1}), cm3.message)
	yield(wait_for("finished", cm3), "completed")
	check(reason == "max_tokens" and pieces.size() > 0, "text: %s %s" % [reason, pieces])
	forget()
	var long = ""
	for i in range(2000): long += "many words and "
	if cm3.generate(long):
		yield(wait_for("finished", cm3), "completed")
		check(reason == "failed" and message != "", "too long: " + reason)
	else:
		check(cm3.message != "", "too long, and no message")


# Computing in _process, in slices.
func without_threads():
	var cm3 = listen(Cm3.new())
	cm3.poll_budget_usec = 4000
	root.add_child(cm3)
	check(cm3.load_model(model, {"threads": 0}), cm3.message)
	yield(wait_for("loaded", cm3), "completed")
	forget()
	check(cm3.generate(PROMPT, {"seed": 7}), cm3.message)
	yield(wait_for("finished", cm3), "completed")
	check(reason == "finished" and images.size() == 1, "without threads: " + reason + message)
	check(polls.size() > 4, "it took %d polls" % polls.size())
	cm3.queue_free()
	yield(self, "idle_frame")


# With a bank: what was looked up changes the picture.
func looking_up():
	var cm3 = listen(Cm3.new())
	check(cm3.load_model(model, {"threads": 1, "bank": work + "/my.bank"}), cm3.message)
	yield(wait_for("loaded", cm3), "completed")
	check(log_of.has("loaded"), message)
	var seen = []
	for number in [0, 1, 1]:
		forget()
		check(cm3.generate(PROMPT, {"seed": 7, "retrieve": number}), cm3.message)
		yield(wait_for("finished", cm3), "completed")
		check(reason == "finished" and images.size() == 1, "with a bank: " + reason + message)
		seen.append(images[0].get_data() if images.size() == 1 else null)
	check(seen[0] != seen[1] and seen[1] == seen[2], "what was looked up made no difference, or not the same twice")
	# Cancelled while it is looking.
	forget()
	check(cm3.generate(PROMPT, {"retrieve": 1}), cm3.message)
	cm3.cancel()
	yield(wait_for("finished", cm3), "completed")
	check(reason == "cancelled", "cancelled while looking: " + reason + message)
	forget()
	check(cm3.generate(PROMPT, {"seed": 7}), cm3.message)
	yield(wait_for("finished", cm3), "completed")
	check(reason == "finished" and images.size() == 1, "after that: " + reason + message)
	check(images.size() == 1 and images[0].get_data() == seen[1], "one of two wanted, and there is but one")
	forget()
	check(cm3.generate(PROMPT, {"retrieve": 100000}), cm3.message)
	yield(wait_for("finished", cm3), "completed")
	check(reason == "failed" and log_of.get("failed") == 1, "too many documents: " + reason)
	check(cm3.generate(PROMPT, {"retrieve": 1}), cm3.message)
	cm3.free() # while it is looking


# (5) While it draws, and while it loads; the last one when the game ends.
func freeing(cm3):
	forget()
	check(cm3.generate(PROMPT, {"candidates": 16}), cm3.message)
	yield(wait_for("progress", cm3), "completed")
	cm3.free()
	var other = Cm3.new()
	check(other.load_model(model), other.message)
	other.free()
	other = listen(Cm3.new())
	root.add_child(other)
	check(other.load_model(model, {"threads": 1}), other.message)
	yield(wait_for("loaded", other), "completed")
	check(other.generate(PROMPT, {"candidates": 16}), other.message)
	yield(wait_for("progress", other), "completed")
