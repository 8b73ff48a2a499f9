using Cm3leon;
using UnityEngine;

/// <summary>Put it on an empty object: a prompt, a picture that appears row by row, cancel.</summary>
[RequireComponent(typeof(Cm3leonBehaviour))]
public sealed class DrawDemo : MonoBehaviour
{
    private Cm3leonBehaviour cm3;
    private string prompt = "a red circle at the top left and a blue star at the bottom";
    private string state = "loading";

    private void Awake()
    {
        cm3 = GetComponent<Cm3leonBehaviour>();
        cm3.Loaded += () => state = "ready";
        cm3.Progressed += (done, total) => state = done + " of " + total + " tokens";
        cm3.Finished += (result, status) => state = status == Status.Cancelled ? "cancelled" : "done";
        cm3.Failed += error => state = error.Message;
    }

    private void OnGUI()
    {
        prompt = GUILayout.TextField(prompt, GUILayout.Width(480));
        GUILayout.Label(state);
        if (cm3.IsBusy)
        {
            if (GUILayout.Button("Cancel", GUILayout.Width(120))) cm3.Cancel();
        }
        else if (cm3.Model != null && GUILayout.Button("Draw", GUILayout.Width(120)))
        {
            cm3.Generate(prompt);
        }
        var picture = cm3.TextureOf(0);
        if (picture != null) GUI.DrawTexture(new Rect(10, 110, 384, 384), picture, ScaleMode.ScaleToFit);
    }
}
