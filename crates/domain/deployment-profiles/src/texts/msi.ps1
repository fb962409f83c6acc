# Checks, installs or removes a product with Windows Installer.
& {
    $ErrorActionPreference = 'Stop'
    $product = $env:MUSTER_PACKAGE
    $given = @($args -ne $null)
    $folder = Join-Path ([IO.Path]::GetTempPath()) "muster-$([Guid]::NewGuid())"
    $file = "$folder\package.msi"
    $code = 2

    function Get-Version {
        foreach ($view in 'Registry64', 'Registry32') {
            $root = [Microsoft.Win32.RegistryKey]::OpenBaseKey('LocalMachine', $view)
            $key = $root.OpenSubKey("SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\$product")
            if ($key) { return "$($key.GetValue('DisplayVersion'))" }
        }
    }

    function Test-Wanted {
        $installed = Get-Version
        if ($env:MUSTER_WANTED -eq 'absent') { return $null -eq $installed }
        $null -ne $installed -and (-not $env:MUSTER_VERSION -or $installed -eq $env:MUSTER_VERSION)
    }

    try {
        if ($product -notmatch '\A\{[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}\z') {
            throw "'$product' is no product code such as {01234567-89AB-CDEF-0123-456789ABCDEF}"
        }
        if ('present', 'absent' -notcontains $env:MUSTER_WANTED) {
            throw "MUSTER_WANTED is neither 'present' nor 'absent'"
        }
        if ('check', 'apply' -notcontains $env:MUSTER_OPERATION) {
            throw "MUSTER_OPERATION is neither 'check' nor 'apply'"
        }
        $code = 1
        if (Test-Wanted) { exit 0 }
        if ($env:MUSTER_OPERATION -eq 'check') { exit 1 }

        if ($env:MUSTER_WANTED -eq 'absent') { $line = "/x $product /qn /norestart" }
        else {
            # Nobody else may put anything next to what is run.
            $rights = New-Object Security.AccessControl.DirectorySecurity
            $sddl = 'D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)'
            $rights.SetSecurityDescriptorSddlForm($sddl, 'Access')
            $null = [IO.Directory]::CreateDirectory($folder, $rights)
            $code = 5
            if ($env:MUSTER_URL -match '\Ahttps?://') {
                # Older ones of Windows leave it out.
                $protocols = [Net.ServicePointManager]::SecurityProtocol
                [Net.ServicePointManager]::SecurityProtocol =
                    $protocols -bor [Net.SecurityProtocolType]::Tls12
                $client = New-Object Net.WebClient
                $client.Headers['User-Agent'] = 'Muster'
                $client.DownloadFile($env:MUSTER_URL, $file)
            } else { [IO.File]::Copy($env:MUSTER_URL, $file) }
            $stream = [IO.File]::OpenRead($file)
            try { $sum = [Security.Cryptography.SHA256]::Create().ComputeHash($stream) }
            finally { $stream.Dispose() }
            if ([BitConverter]::ToString($sum).Replace('-', '') -ne $env:MUSTER_SHA256) {
                $code = 3
                throw 'the file has another SHA-256 than expected: nothing was installed'
            }
            $code = 1
            # Windows Installer reads NAME="a value", and not "NAME=a value".
            $words = foreach ($word in $given) {
                if ($word -notmatch '\s' -or $word -match '"') { $word }
                elseif ($word -match '\A(?<name>\w[\w.]*=)(?<value>[\s\S]*)\z') {
                    "$($Matches.name)`"$($Matches.value)`""
                } else { "`"$word`"" }
            }
            # It leaves another version of the same product alone else.
            if ($null -ne (Get-Version)) {
                $words = @('REINSTALL=ALL', 'REINSTALLMODE=vomus') + $words
            }
            $line = "/i `"$file`" /qn /norestart $($words -join ' ')"
        }
        $program = "$env:SystemRoot\System32\msiexec.exe"
        $start = New-Object Diagnostics.ProcessStartInfo $program, $line
        $start.UseShellExecute = $false
        $process = [Diagnostics.Process]::Start($start)
        $process.WaitForExit()
        $code = $process.ExitCode
        # The last two say that Windows has to boot again, or does.
        if (0, 3010, 1641 -notcontains $code) {
            throw "Windows Installer ended with ${code}: look this number up among its error codes"
        }
        if ($code -ne 0) { [Console]::Out.WriteLine('muster: Windows has to boot again') }
        $code = 0
    } catch {
        $advice = if ($code -eq 5) { '; see that this machine reaches where the file is' }
        [Console]::Error.WriteLine("muster: $_$advice")
    }
    finally { Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue }
    exit $code
} @args
