using System;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Cm3leon.Tests
{
    /// <summary>What the managed side believes of the library, for check.py to compare with the headers.</summary>
    internal static class Layout
    {
        private const BindingFlags All = BindingFlags.Instance | BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public;

        /// <summary>Lines "size STRUCT bytes", "field STRUCT name offset bytes", "value ENUM name number".</summary>
        internal static int PrintStructs()
        {
            foreach (var type in typeof(Context).Assembly.GetTypes())
            {
                if (type.IsEnum && type.Namespace == "Cm3leon")
                {
                    foreach (object value in Enum.GetValues(type))
                        Console.WriteLine("value " + type.Name + " " + value + " " + Convert.ToInt64(value));
                }
                if (!type.IsValueType || !type.Name.StartsWith("cm3_") && type != typeof(Box)) continue;
                string name = type == typeof(Box) ? "cm3_box" : type.Name;
                Console.WriteLine("size " + name + " " + Marshal.SizeOf(type));
                foreach (var field in type.GetFields(All))
                    Console.WriteLine("field " + name + " " + field.Name.ToLowerInvariant() + " " +
                                      Marshal.OffsetOf(type, field.Name) + " " + Marshal.SizeOf(field.FieldType));
            }
            return 0;
        }

        /// <summary>Lines "function name result parameter...", each as void, pointer, or a number's size and kind.</summary>
        internal static int PrintImports()
        {
            foreach (var method in typeof(Context).Assembly.GetType("Cm3leon.Native").GetMethods(All))
            {
                var import = (DllImportAttribute)Attribute.GetCustomAttribute(method, typeof(DllImportAttribute));
                if (import == null) continue;
                if (import.CallingConvention != CallingConvention.Cdecl || import.Value != "cm3leon")
                    throw new Exception(method.Name + ": not Cdecl, or of another library");
                string line = "function " + method.Name + " " + Kind(method.ReturnType);
                foreach (var parameter in method.GetParameters()) line += " " + Kind(parameter.ParameterType);
                Console.WriteLine(line);
            }
            return 0;
        }

        private static string Kind(Type type)
        {
            if (typeof(Delegate).IsAssignableFrom(type)) throw new Exception("a delegate would be called by native code");
            if (type == typeof(void)) return "void";
            if (type.IsByRef || type.IsArray || type == typeof(IntPtr)) return "pointer";
            if (typeof(SafeHandle).IsAssignableFrom(type)) return "pointer";
            if (type.IsEnum || type == typeof(int)) return "int32";
            if (type == typeof(uint)) return "uint32";
            if (type == typeof(ulong)) return "uint64";
            if (type == typeof(UIntPtr)) return "size";
            throw new Exception("a type that is not blittable: " + type);
        }
    }
}
