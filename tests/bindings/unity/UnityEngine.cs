// The few types of Unity that the package uses, so that its components can be compiled and driven without the engine.
// Names and behaviour are Unity's; everything else of them is left out.
using System;
using System.Collections;
using System.Collections.Generic;
using System.Reflection;

namespace UnityEngine
{
    public class Object
    {
        internal bool Gone;

        public static void Destroy(Object thing)
        {
            DestroyImmediate(thing);
        }

        public static void DestroyImmediate(Object thing)
        {
            if (thing == null) return;
            var game = thing as GameObject;
            if (game != null) game.Leave();
            if (thing is Texture2D) Texture2D.Alive--;
            thing.Gone = true;
        }

        public static bool operator ==(Object a, Object b)
        {
            bool none = ReferenceEquals(a, null) || a.Gone, other = ReferenceEquals(b, null) || b.Gone;
            return none || other ? none && other : ReferenceEquals(a, b);
        }

        public static bool operator !=(Object a, Object b)
        {
            return !(a == b);
        }

        public override bool Equals(object other)
        {
            return this == other as Object;
        }

        public override int GetHashCode()
        {
            return 0;
        }
    }

    public class Component : Object
    {
        public GameObject gameObject { get; internal set; }

        public T GetComponent<T>() where T : Component
        {
            return gameObject.GetComponent<T>();
        }
    }

    public class MonoBehaviour : Component
    {
        internal void Send(string message)
        {
            var method = GetType().GetMethod(message, BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Public);
            if (method != null) ((Action)Delegate.CreateDelegate(typeof(Action), this, method))();
        }
    }

    public sealed class GameObject : Object
    {
        private static readonly List<GameObject> All = new List<GameObject>();
        private readonly List<MonoBehaviour> parts = new List<MonoBehaviour>();
        private bool active = true;

        public GameObject(string name)
        {
            All.Add(this);
        }

        public T AddComponent<T>() where T : MonoBehaviour, new()
        {
            var part = new T { gameObject = this };
            parts.Add(part);
            part.Send("Awake");
            if (active) part.Send("OnEnable");
            return part;
        }

        public T GetComponent<T>() where T : Component
        {
            foreach (var part in parts)
                if (part is T) return part as T;
            return null;
        }

        public void SetActive(bool value)
        {
            if (active == value) return;
            active = value;
            foreach (var part in parts) part.Send(value ? "OnEnable" : "OnDisable");
        }

        internal void Leave()
        {
            SetActive(false);
            All.Remove(this);
        }

        internal static void Frame()
        {
            foreach (var thing in All.ToArray())
            {
                if (!thing.active) continue;
                foreach (var part in thing.parts.ToArray()) part.Send("Update");
            }
        }
    }

    public enum TextureFormat
    {
        RGB24 = 3
    }

    public sealed class Texture2D : Object
    {
        internal static int Alive;
        private readonly byte[] data;
        private byte[] shown;

        public readonly int width, height;

        public Texture2D(int width, int height, TextureFormat format, bool mipChain)
        {
            if (format != TextureFormat.RGB24 || mipChain) throw new NotSupportedException();
            this.width = width;
            this.height = height;
            data = new byte[3 * width * height];
            Alive++;
        }

        public void LoadRawTextureData(byte[] bytes)
        {
            if (Gone || bytes.Length != data.Length) throw new InvalidOperationException("LoadRawTextureData");
            Array.Copy(bytes, data, data.Length);
        }

        public void Apply(bool updateMipmaps)
        {
            shown = (byte[])data.Clone();
        }

        public byte[] GetRawTextureData()
        {
            return shown;
        }
    }

    public static class Application
    {
        public static string streamingAssetsPath
        {
            get { return "Assets/StreamingAssets"; }
        }
    }

    public static class Debug
    {
        internal static int Errors;

        public static void LogError(object message, Object about)
        {
            Errors++;
        }
    }

    // What the sample draws its window with.
    public struct Rect
    {
        public Rect(float x, float y, float width, float height)
        {
        }
    }

    public enum ScaleMode
    {
        ScaleToFit
    }

    public sealed class GUILayoutOption
    {
    }

    public static class GUILayout
    {
        internal static string Pressed;

        public static string TextField(string text, params GUILayoutOption[] options)
        {
            return text;
        }

        public static void Label(string text, params GUILayoutOption[] options)
        {
        }

        public static bool Button(string text, params GUILayoutOption[] options)
        {
            return text == Pressed;
        }

        public static GUILayoutOption Width(float width)
        {
            return new GUILayoutOption();
        }
    }

    public static class GUI
    {
        internal static int Textures;

        public static void DrawTexture(Rect place, Texture2D texture, ScaleMode mode)
        {
            Textures++;
        }
    }

    [AttributeUsage(AttributeTargets.Field)]
    public sealed class TooltipAttribute : Attribute
    {
        public TooltipAttribute(string text)
        {
        }
    }

    public sealed class AddComponentMenu : Attribute
    {
        public AddComponentMenu(string name)
        {
        }
    }

    public sealed class DisallowMultipleComponent : Attribute
    {
    }

    public sealed class RequireComponent : Attribute
    {
        public RequireComponent(Type type)
        {
        }
    }
}

namespace UnityEngine.TestTools
{
    [AttributeUsage(AttributeTargets.Method)]
    public sealed class UnityTestAttribute : Attribute
    {
    }
}

namespace UnityEditor
{
    public sealed class InitializeOnLoadAttribute : Attribute
    {
    }

    public static class AssemblyReloadEvents
    {
        public delegate void AssemblyReloadCallback();

        public static event AssemblyReloadCallback beforeAssemblyReload;

        internal static void Reload()
        {
            if (beforeAssemblyReload != null) beforeAssemblyReload();
        }
    }
}
